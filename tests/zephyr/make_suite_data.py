"""What the ztest suites compare with: a tiny checkpoint, kernel vectors from SPEC.md in numpy, logits of the golden.

python tests/zephyr/make_suite_data.py     rewrites tests/zephyr/suites/{tiny,data}
"""

import sys
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "kernels")]

import oracle  # noqa: E402
from random_model import small_config, write_checkpoint  # noqa: E402

from mmoe_embed.checkpoint import load_checkpoint  # noqa: E402
from mmoe_embed.golden import Golden  # noqa: E402
from mmoe_embed.pack import pack_matrix  # noqa: E402
from mmoe_embed.quantize import quantize_checkpoint  # noqa: E402

SUITES = TESTS / "zephyr" / "suites"
F = np.float32
STEPS = 24
HEAD = "/* SPDX-License-Identifier: Apache-2.0\n *\n * Made by tests/zephyr/make_suite_data.py. Do not edit. */\n"


def make_checkpoint(folder: Path) -> Path:
    """Two layers of six experts, small enough for 64 KiB of RAM with the expert image in a simulated flash there."""
    config = small_config(vocab_size=272, num_experts=4, shared_expert_intermediate_size=32)
    write_checkpoint(folder, config, seed=7)
    file = folder / "model.safetensors"
    save_file({name: tensor.astype(np.float16) for name, tensor in load_file(file).items()}, file)
    return folder


def make_vectors() -> str:
    """Inputs and outputs of kernels, as the bits of floats."""
    rng = np.random.default_rng(7)
    out = [HEAD + "#include <stdint.h>\n"]

    def words(name: str, values: Iterable[float]) -> None:
        bits = np.asarray(values, F).view(np.uint32)
        out.append(f"static const uint32_t {name}[{bits.size}] = {{\n{_rows(f'0x{b:08x}' for b in bits)}\n}};")

    def octets(name: str, data: bytes) -> None:
        text = _rows(f"0x{b:02x}" for b in data)
        out.append(f"static const uint8_t {name}[{len(data)}] __attribute__((aligned(16))) = {{\n{text}\n}};")

    x = np.array([0, -0.0, 1, -1, 87, -87, 100, -100, 0.5, 1e-30, 20.25, -3.75], F)
    words("exp_in", x)
    words("exp_out", oracle.exp(x))
    columns, rows = 72, 10
    x = rng.standard_normal(columns).astype(F)
    words("x", x)
    s8, scale = rng.integers(-127, 128, (rows, columns)).astype(np.int8), rng.uniform(1e-4, 1e-2, rows).astype(F)
    packed = pack_matrix(s8, scale, None)
    octets("s8_weights", packed.weights)
    octets("row_scales", packed.row_scales)
    words("s8_out", oracle.matvec(s8, scale, None, x))
    words("embed_out", s8[3].astype(F) * scale[3])
    q = rng.integers(-8, 8, (rows, columns)).astype(np.int8)
    group = rng.integers(0, 256, (rows, -(-columns // 32))).astype(np.uint8)
    packed = pack_matrix(q, scale, group)
    octets("s4_weights", packed.weights)
    octets("s4_groups", packed.group_scales)
    words("s4_out", oracle.matvec(q, scale, group, x))
    norm = rng.standard_normal(columns).astype(F)
    words("norm", norm)
    words("rmsnorm_out", (x * oracle.rms(x, 1e-5)) * norm)
    words("swiglu_out", oracle.matvec(s8, scale, None, oracle.swiglu(np.concatenate([x, x[::-1]]))))
    experts, top_k, n = 6, 2, 32
    weight, bias = rng.standard_normal((experts, n)).astype(F), (0.1 * rng.standard_normal(experts)).astype(F)
    chosen, gates = oracle.route(x[:n], weight, bias, top_k, 1.5)
    words("router", weight.reshape(-1))
    words("router_bias", bias)
    words("gates", gates)
    octets("chosen", bytes(chosen))
    out.append(f"enum {{ COLUMNS = {columns}, ROWS = {rows}, EXPERTS = {experts}, TOP_K = {top_k}, WIDTH = {n} }};")
    return "\n".join(out) + "\n"


def make_steps(checkpoint: Path) -> str:
    """Tokens and the CRC-32 of the golden's logits after each; STEPS_BITS says of which scheme."""
    loaded = load_checkpoint(checkpoint)
    tokens = np.random.default_rng(7).integers(3, loaded.config.vocab_size, STEPS)
    parts = [HEAD, f"#include <stdint.h>\nenum {{ STEPS = {STEPS} }};\n"]
    parts.append(f"static const uint16_t step_token[STEPS] = {{\n{_rows(map(str, tokens))}\n}};\n")
    for bits in (8, 4):
        golden = Golden(quantize_checkpoint(loaded, f"int{bits}"))
        crcs = [zlib.crc32(np.ascontiguousarray(golden.step(int(token)), "<f4").tobytes()) for token in tokens]
        parts.append(f"{'#if' if bits == 8 else '#elif'} STEPS_BITS == {bits}\n")
        parts.append(f"static const uint32_t step_crc[STEPS] = {{\n{_rows(f'0x{crc:08x}' for crc in crcs)}\n}};\n")
    return "".join([*parts, "#endif\n"])


def _rows(texts: Iterable[str], count: int = 12) -> str:
    all_of_them = list(texts)
    return "\n".join("    " + ", ".join(all_of_them[i : i + count]) + "," for i in range(0, len(all_of_them), count))


if __name__ == "__main__":
    tiny = make_checkpoint(SUITES / "tiny")
    (SUITES / "data").mkdir(exist_ok=True)
    (SUITES / "data" / "vectors.h").write_text(make_vectors())
    (SUITES / "data" / "steps.h").write_text(make_steps(tiny))
