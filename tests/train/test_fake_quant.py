"""Rounding in training is the exporter's, to the bit."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch (the train extra)")

from mmoe_embed import golden
from mmoe_embed.quantize import quantize_int4, quantize_int8
from mmoe_embed.train.fake_quant import fake_quantize_activations, fake_quantize_weights, split_int4, split_int8

pytestmark = pytest.mark.torch


def _weights(columns: int) -> np.ndarray:
    rng = np.random.default_rng(columns)
    w = rng.standard_normal((200, columns)).astype(np.float32) * np.exp2(rng.integers(-12, 4, (200, 1))).astype(
        np.float32
    )
    w[0] = 0
    w[1] *= np.float32(2.0**-80)
    w[2, : columns // 2] = 0
    w[3] = np.float32(1.5)
    w[4, 0] = np.float32(1e6)
    return w


@pytest.mark.parametrize("columns", [1, 31, 32, 33, 64, 100, 128])
def test_split_gives_the_exporters_integers(columns: int) -> None:
    w = _weights(columns)
    q, scale = split_int8(torch.from_numpy(w))
    exported = quantize_int8(w)
    np.testing.assert_array_equal(q.numpy(), exported.q)
    np.testing.assert_array_equal(scale.numpy()[:, 0].view(np.int32), exported.scale.view(np.int32))
    q, scale, group = split_int4(torch.from_numpy(w))
    exported = quantize_int4(w)
    np.testing.assert_array_equal(q.numpy(), exported.q)
    np.testing.assert_array_equal(scale.numpy()[:, 0].view(np.int32), exported.scale.view(np.int32))
    assert exported.group is not None
    np.testing.assert_array_equal(group.numpy(), exported.group)


def test_split_of_stacked_experts_is_that_of_each() -> None:
    w = _weights(64).reshape(4, 50, 64)
    together = split_int4(torch.from_numpy(w))
    for i, one in enumerate(w):
        for whole, part in zip(together, split_int4(torch.from_numpy(one)), strict=True):
            assert torch.equal(whole[i], part)


@pytest.mark.parametrize("bits", [4, 8])
def test_fake_quantize_weights_stands_for_the_integers(bits: int) -> None:
    w = _weights(96)
    exported = (quantize_int4 if bits == 4 else quantize_int8)(w).dequantize()
    faked = fake_quantize_weights(torch.from_numpy(w), bits).numpy()
    # the straight-through sum w + (rounded - w) may differ from `rounded` by a rounding of each
    np.testing.assert_allclose(faked, exported, rtol=0, atol=2 * np.spacing(np.abs(w).max(axis=1, keepdims=True)).max())


def test_fake_quantize_activations_gives_the_goldens_integers() -> None:
    x = _weights(64)
    q, scale = golden.quantize(x)
    faked = fake_quantize_activations(torch.from_numpy(x)).numpy()
    expected = q.astype(np.float32) * scale[:, None]
    np.testing.assert_allclose(faked, expected, rtol=1e-5, atol=1e-5 * np.abs(x).max(axis=1, keepdims=True).min())


def test_gradient_passes_straight_through() -> None:
    w = torch.randn(8, 64, requires_grad=True)
    pattern = torch.randn(8, 64)
    for faked in (fake_quantize_weights(w, 4), fake_quantize_weights(w, 8), fake_quantize_activations(w)):
        (gradient,) = torch.autograd.grad((faked * pattern).sum(), w)
        assert torch.equal(gradient, pattern)
