"""The kernels of this computer against SPEC.md in numpy."""

import ctypes
import subprocess

import gate_table
import numpy as np
import oracle
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmoe_embed.bench.image import C_FLAGS, has_compiler, kernel_sources
from mmoe_embed.golden import silu
from mmoe_embed.pack import pack_matrix
from mmoe_embed.resources import kernels_dir

pytestmark = [pytest.mark.gcc, pytest.mark.skipif(not has_compiler("gcc"), reason="no gcc")]
F = np.float32
FEW = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Matrix(ctypes.Structure):
    """mmoe_matrix"""

    _fields_ = (
        ("rows", ctypes.c_uint32), ("columns", ctypes.c_uint16), ("bits", ctypes.c_uint16),
        ("weights", ctypes.c_void_p), ("group_scales", ctypes.c_void_p), ("row_scales", ctypes.c_void_p),
    )  # fmt: skip


class Router(ctypes.Structure):
    """mmoe_router"""

    _fields_ = (
        ("experts", ctypes.c_uint16), ("top_k", ctypes.c_uint16), ("softmax", ctypes.c_uint8), ("as_scored", ctypes.c_uint8),
        ("scaling", ctypes.c_float), ("weight", ctypes.c_void_p), ("bias", ctypes.c_void_p),
    )  # fmt: skip


class AttentionShape(ctypes.Structure):
    """mmoe_attention"""

    _fields_ = (
        *((name, ctypes.c_uint16) for name in ("heads", "kv_heads", "head_dim", "context", "qk_norm")),
        ("eps", ctypes.c_float), ("cosine", ctypes.c_void_p), ("sine", ctypes.c_void_p),
    )  # fmt: skip


@pytest.fixture(scope="module", params=[("reference",), ("x86", "vector", "reference")], ids=["reference", "x86"])
def kernels(request, tmp_path_factory):
    """The kernels as a shared library."""
    library = tmp_path_factory.mktemp("kernels") / "kernels.so"
    subprocess.run(
        ["gcc", *C_FLAGS, "-O2", "-fPIC", "-shared", f"-I{kernels_dir() / 'include'}",
         *map(str, kernel_sources(request.param)), "-o", str(library)],
        check=True,
    )  # fmt: skip
    loaded = ctypes.CDLL(str(library))
    for name in ("mmoe_exp_f32", "mmoe_sqrt_f32", "mmoe_rms_f32", "mmoe_gate_f32"):
        getattr(loaded, name).restype = ctypes.c_float
    return loaded


def aligned(count, dtype=F):
    """An array at a multiple of 16 bytes, filled with 0xA5."""
    size = count * np.dtype(dtype).itemsize
    raw = np.full(size + 16, 0xA5, np.uint8)
    start = -raw.ctypes.data % 16
    return raw[start : start + size].view(dtype)


def aligned_copy(data, dtype=F):
    """The same values at a multiple of 16 bytes."""
    values = np.frombuffer(data, dtype) if isinstance(data, bytes) else np.asarray(data, dtype)
    copy = aligned(values.size, dtype)
    copy[:] = values.reshape(-1)
    return copy


def at(array):
    """Its address."""
    return ctypes.c_void_p(array.ctypes.data)


def vector_bytes(n):
    """MMOE_VECTOR_BYTES"""
    return 16 + -(-4 * -(-n // 32) // 16) * 16 + 2 * (-(-n // 32) * 32)


def same_bits(a, b):
    """Equal in every bit."""
    np.testing.assert_array_equal(np.asarray(a, F).view(np.uint32), np.asarray(b, F).view(np.uint32))


def floats(rng, n, kind):
    """Ordinary, tiny, subnormal, of mixed size, zero."""
    x = rng.standard_normal(n).astype(F)
    if kind == "tiny":
        return (x * F(2.0**-62)).astype(F)
    if kind == "subnormal":
        return (x * F(2.0**-130)).astype(F)
    if kind == "mixed":
        return (x * np.exp2(rng.integers(-120, 50, n))).astype(F)
    return np.zeros(n, F) if kind == "zero" else x


KINDS = st.sampled_from(["ordinary", "ordinary", "tiny", "subnormal", "mixed", "zero"])


@FEW
@given(st.integers(1, 20), st.integers(1, 400), st.booleans(), KINDS, st.integers(0, 2**32))
def test_matvec_random_shape(kernels, rows, columns, int4, kind, seed):
    rng = np.random.default_rng(seed)
    low, high = (-8, 7) if int4 else (-127, 127)
    q = rng.integers(low, high + 1, (rows, columns)).astype(np.int8)
    if seed % 5 == 0:
        q[:] = low
    group = None
    if int4:
        group = rng.integers(0, 256, (rows, -(-columns // 32))).astype(np.uint8)
        if seed % 5 == 0:
            group[:] = 255
    scale = rng.uniform(1e-4, 1e-2, rows).astype(F)
    scale[rng.integers(0, 4, rows) == 0] = 0
    x = floats(rng, columns, kind)

    packed = pack_matrix(q, scale, group)
    weights = aligned_copy(packed.weights, np.uint8)
    groups = aligned_copy(packed.group_scales, np.uint8)
    scales = aligned_copy(packed.row_scales)
    matrix = Matrix(rows, columns, 4 if int4 else 8, weights.ctypes.data, groups.ctypes.data, scales.ctypes.data)
    vector, y, source = aligned(vector_bytes(columns), np.uint8), aligned(rows), aligned_copy(x)
    assert kernels.mmoe_quantize_s8(at(source), columns, at(vector)) == 0
    kernels.mmoe_matvec(ctypes.byref(matrix), at(vector), at(y))
    same_bits(y, oracle.matvec(q, scale, group, x))

    count = 1 + seed % 4
    inputs = [floats(rng, columns, kind) for _ in range(count)]
    vectors, outputs = [aligned(vector_bytes(columns), np.uint8) for _ in inputs], [aligned(rows) for _ in inputs]
    for values, to in zip(inputs, vectors, strict=True):
        source = aligned_copy(values)
        assert kernels.mmoe_quantize_s8(at(source), columns, at(to)) == 0
    pointers = [(ctypes.c_void_p * count)(*(array.ctypes.data for array in arrays)) for arrays in (vectors, outputs)]
    scratch = aligned(8 * -(-columns // 32) * 32, np.uint8)
    kernels.mmoe_matmul(ctypes.byref(matrix), *pointers, count, at(scratch))
    for values, out in zip(inputs, outputs, strict=True):
        same_bits(out, oracle.matvec(q, scale, group, values))

    if not int4:
        row, out = int(rng.integers(rows)), aligned(columns)
        kernels.mmoe_embed_s8(ctypes.byref(matrix), row, at(out))
        same_bits(out, q[row].astype(F) * scale[row])


def test_matvec_largest_sum(kernels):
    q, group = np.full((1, 8192), -8, np.int8), np.full((1, 256), 255, np.uint8)
    scale, x = np.ones(1, F), np.full(8192, -1, F)
    packed = pack_matrix(q, scale, group)
    parts = [aligned_copy(part, np.uint8) for part in (packed.weights, packed.group_scales, packed.row_scales)]
    matrix = Matrix(1, 8192, 4, *(part.ctypes.data for part in parts))
    vector, y, source = aligned(vector_bytes(8192), np.uint8), aligned(1), aligned_copy(x)
    assert kernels.mmoe_quantize_s8(at(source), 8192, at(vector)) == 0
    kernels.mmoe_matvec(ctypes.byref(matrix), at(vector), at(y))
    same_bits(y, oracle.matvec(q, scale, group, x))
    assert y[0] == F(2_122_383_360) * F(F(1) / F(127))


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan, 2.0**60, -(2.0**60)])
def test_quantize_too_large(kernels, bad):
    x = aligned_copy(np.array([1, 2, bad, 3, 4], F))
    assert kernels.mmoe_quantize_s8(at(x), 5, at(aligned(vector_bytes(5), np.uint8))) == -4
    x[2] = np.nextafter(F(2.0**60), F(0))
    assert kernels.mmoe_quantize_s8(at(x), 5, at(aligned(vector_bytes(5), np.uint8))) == 0


@FEW
@given(st.integers(1, 300), KINDS, st.booleans(), st.integers(0, 2**32))
def test_norms_and_sums_random(kernels, n, kind, weighted, seed):
    rng = np.random.default_rng(seed)
    x, w = floats(rng, n, kind), floats(rng, n, "ordinary")
    source, weight, y, eps = aligned_copy(x), aligned_copy(w), aligned(n), ctypes.c_float(1e-6)
    kernels.mmoe_rmsnorm_f32(at(source), at(weight) if weighted else None, n, eps, at(y))
    expected = x * oracle.rms(x, 1e-6)
    same_bits(y, expected * w if weighted else expected)
    y = aligned_copy(w)
    kernels.mmoe_add_f32(at(source), n, at(y))
    same_bits(y, w + x)
    y = aligned_copy(w)
    kernels.mmoe_accumulate_f32(at(source), ctypes.c_float(0.3), n, at(y))
    same_bits(y, w + F(0.3) * x)
    y, gates, outputs = aligned_copy(w), aligned_copy([0.3, -2.5]), aligned_copy(np.concatenate([w, x]))
    kernels.mmoe_combine_f32(at(source), at(outputs), n, at(gates), 2, n, at(y))
    same_bits(y, w + ((x + F(0.3) * w) + F(-2.5) * x))
    y, vector = aligned(n), aligned(vector_bytes(n), np.uint8)
    assert kernels.mmoe_rmsnorm_s8(at(source), at(weight), n, eps, at(y), at(vector)) == 0
    same_bits(y, expected * w)
    q, scale = oracle.quantize(expected * w)
    same_bits(vector[:4].view(F), scale)
    assert vector[16 : 16 + n].view(np.int8).tolist() == q.tolist()
    assert kernels.mmoe_argmax_f32(at(source), n) == int(np.argmax(x))


class SamplingShape(ctypes.Structure):
    """mmoe_sampling"""

    _fields_ = (("temperature", ctypes.c_float), ("top_k", ctypes.c_uint32), ("seed", ctypes.c_uint32))


@settings(FEW, max_examples=100)
@given(st.integers(1, 600), KINDS, st.floats(2.0**-9, 1000, width=32), st.integers(0, 700), st.integers(0, 2**32 - 1))
def test_sample_random(kernels, n, kind, temperature, top_k, seed):
    z = floats(np.random.default_rng(seed), n, kind) * F(4)
    if seed % 3 == 0:  # ties, and zeros of both signs
        z = np.round(z)
    logits, shape = aligned_copy(z), SamplingShape(temperature, top_k, seed)
    for position in range(4):
        got = kernels.mmoe_sample_f32(at(logits), n, ctypes.byref(shape), position)
        assert got == oracle.sample(z, temperature, top_k, seed, position)


@FEW
@given(st.integers(1, 200), KINDS, st.integers(0, 2**32))
def test_swiglu_random(kernels, n, kind, seed):
    gate_up = floats(np.random.default_rng(seed), 2 * n, kind) * F(8)
    h, vector = aligned_copy(gate_up), aligned(vector_bytes(n), np.uint8)
    expected = oracle.quantize(oracle.swiglu(gate_up))
    assert kernels.mmoe_swiglu_s8(at(h), n, ctypes.c_float(0), at(vector)) == (0 if expected else -4)
    if not expected:
        return
    q, scale = expected
    same_bits(vector[:4].view(F), scale)
    assert vector[16 : 16 + n].view(np.int8).tolist() == q.tolist()


def test_gate_table_is_that_of_the_text():
    assert gate_table.HEADER.read_text() == gate_table.render(), "run tests/kernels/gate_table.py"


def test_silu_is_close_to_the_exact_one():
    x = np.linspace(-20, 20, 40000)  # without 0
    error = np.abs(silu(x.astype(F)) - x / (1 + np.exp(-x)))
    assert np.max(error) < 8e-5
    assert np.max(error / np.abs(x)) < 2.4e-5


@FEW
@given(st.integers(1, 300), st.integers(1, 9), KINDS, st.integers(0, 2**31))
def test_normalize_random(kernels, n, channels, kind, seed):
    rng = np.random.default_rng(seed)
    x, mean, gain = floats(rng, n, kind), floats(rng, channels, "ordinary"), floats(rng, channels, "mixed")
    arrays, y = [aligned_copy(values) for values in (x, mean, gain)], aligned(n)
    kernels.mmoe_normalize_f32(*map(at, arrays), channels, n, at(y))
    same_bits(y, oracle.normalize(x, mean, gain))


def test_exp_over_its_range(kernels):
    x = np.concatenate([np.linspace(-90, 90, 20001), [0.0, -0.0, 1e-30, -1e-40, 1e38, -1e38]]).astype(F)
    got = np.array([kernels.mmoe_exp_f32(ctypes.c_float(v)) for v in x], F)
    same_bits(got, oracle.exp(x))
    for most, error in ((10, 3.5e-6), (86, 6.7e-6)):
        inside = np.abs(x) <= most
        exact = np.exp(x[inside].astype(np.float64))
        assert np.max(np.abs(got[inside] / exact - 1)) < error


@FEW
@given(st.integers(1, 40), st.integers(1, 100), st.integers(1, 16), st.booleans(), st.booleans(), st.integers(0, 2**32))
def test_route_random(kernels, experts, n, top_k, softmax, as_scored, seed):
    rng, top_k = np.random.default_rng(seed), min(top_k, experts)
    x, weight = floats(rng, n, "ordinary"), (floats(rng, experts * n, "ordinary") * F(0.1)).reshape(experts, n)
    bias = floats(rng, experts, "ordinary") * F(0.1)
    if seed % 3 == 0:  # ties
        weight[:], bias[:] = weight[0], 0
    chosen, gate, scratch = aligned(16, np.uint8), aligned(16), aligned(-(-2 * experts // 4) * 4)
    arrays = [aligned_copy(v) for v in (x, weight, bias)]
    router = Router(experts, top_k, softmax, as_scored, 2.5, arrays[1].ctypes.data, arrays[2].ctypes.data)
    kernels.mmoe_route_f32(ctypes.byref(router), at(arrays[0]), n, at(chosen), at(gate), at(scratch))
    expected, gates = oracle.route(x, weight, bias, top_k, 2.5, softmax, not as_scored)
    assert chosen[:top_k].tolist() == expected
    same_bits(gate[:top_k], gates)
    same_bits(kernels.mmoe_gate_f32(at(arrays[0]), at(arrays[1]), n), oracle.sigmoid(oracle.lanes(x * weight[0])))


@settings(FEW, max_examples=8)
@given(st.integers(1, 3), st.integers(1, 6), st.integers(1, 24), st.integers(1, 40), st.booleans(), KINDS,
       st.integers(0, 2**32))  # fmt: skip
def test_attention_random(kernels, kv_heads, group, half, context, qk_norm, kind, seed):
    rng, dim, heads = np.random.default_rng(seed), 2 * half, kv_heads * group
    angles = rng.uniform(0, 6, (context, half))
    cosine, sine = aligned_copy(np.cos(angles)), aligned_copy(np.sin(angles))
    shape = AttentionShape(heads, kv_heads, dim, context, qk_norm, 1e-6, cosine.ctypes.data, sine.ctypes.data)
    padded, whole = -(-dim // 16) * 16, -(-context // 16) * 16
    cache_bytes = -(-kv_heads * (2 * whole * padded + 8 * context) // 16) * 16
    at_once, scores = min(group, 4), -(-max(context, dim) // 4) * 4
    scratch_bytes = at_once * (4 * scores + 2 * whole + 2 * padded) + 2 * padded
    cache, scratch = aligned(cache_bytes, np.uint8), aligned(scratch_bytes, np.uint8)
    expected = oracle.Attention(heads, kv_heads, dim, qk_norm, 1e-6)
    for position in range(context):
        qkv = floats(rng, (heads + 2 * kv_heads) * dim, kind) * F(3)
        buffer, out = aligned_copy(qkv), aligned(heads * dim)
        status = kernels.mmoe_attention_s8(ctypes.byref(shape), at(buffer), at(cache), position, at(out), at(scratch))
        assert status == 0
        rotation = (table.reshape(context, half)[position] for table in (cosine, sine))
        same_bits(out, expected.step(qkv, *rotation))
