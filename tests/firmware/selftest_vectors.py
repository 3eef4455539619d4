"""The numbers of the kernel self-test and what every kernel must make of them, from SPEC.md alone.

`python tests/firmware/selftest_vectors.py` writes firmware/src/selftest_vectors.h anew.
"""

import sys
import zlib
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
HEADER = ROOT / "firmware/src/selftest_vectors.h"
sys.path.insert(0, str(ROOT / "tests/kernels"))

import oracle  # noqa: E402

F = np.float32
WIDTH, ROWS_S8, ROWS_S4 = 64, 8, 16


def _draw():
    """(floats, packed weight bytes, group scales, row scales)"""
    source = np.random.default_rng(2026)
    floats = (source.standard_normal(WIDTH) * 2).astype(F)
    weights = source.integers(-127, 128, 512, dtype=np.int8)
    groups = source.integers(1, 256, (ROWS_S4, 2), dtype=np.uint8)
    scales = np.abs(source.standard_normal(ROWS_S4) / 100).astype(F)
    return floats, weights, groups, scales


def _unpack_s8(weights):
    """SPEC.md 5: int8 (8, 64)."""
    blocks = weights.reshape(ROWS_S8 // 4, WIDTH // 16, 4, 16)
    return blocks.transpose(0, 2, 1, 3).reshape(ROWS_S8, WIDTH)


def _unpack_s4(weights):
    """SPEC.md 5: int4 (16, 64)."""
    words = weights.view(np.uint8).reshape(ROWS_S4 // 4, WIDTH // 32, 4, 4, 4)  # tile, group, row, j, i
    nibbles = np.stack([words & 15, words >> 4], axis=-2).astype(np.int8)  # tile, group, row, j, half, i
    signed = np.where(nibbles > 7, nibbles - 16, nibbles).astype(np.int8)
    return signed.transpose(0, 2, 1, 3, 4, 5).reshape(ROWS_S4, WIDTH)


def _crc(values):
    return zlib.crc32(np.asarray(values, F).tobytes())


def expect():
    """Kernel -> CRC-32 of its result; argmax: the index."""
    floats, weights, groups, scales = _draw()
    half, s8 = WIDTH // 2, _unpack_s8(weights)
    chosen, gates = oracle.route(floats[:16], floats.reshape(4, 16), floats[:4], 2, 2.5)
    both = floats, floats[::-1]
    attention = oracle.Attention(2, 1, 8, True, F(1e-5))
    for position in range(2):
        at = slice(4 * position, 4 * position + 4)
        heads = attention.step(floats[32 * position : 32 * position + 32], floats[at], floats[16:][at])
    return {
        "CRC32": zlib.crc32(b"123456789"),
        "MATVEC_S8": _crc(oracle.matvec(s8, scales[:ROWS_S8], None, floats)),
        "MATVEC_S4G32": _crc(oracle.matvec(_unpack_s4(weights), scales, groups, floats)),
        "MATMUL_S8": _crc([oracle.matvec(s8, scales[:ROWS_S8], None, x) for x in both]),
        "MATMUL_S4G32": _crc([oracle.matvec(_unpack_s4(weights), scales, groups, x) for x in both]),
        "EMBED_S8": _crc(s8[5].astype(F) * scales[5]),
        "RMSNORM_F32": _crc((floats * oracle.rms(floats, F(1e-5))) * floats),
        "ADD_F32": _crc(floats[:half] + floats[half:]),
        "ACCUMULATE_F32": _crc(floats[:half] + scales[0] * floats[half:]),
        "COMBINE_F32": _crc(floats[:16] + ((floats[16:32] + scales[0] * floats[32:48]) + scales[1] * floats[48:])),
        "SWIGLU_S8": _crc(oracle.matvec(s8, scales[:ROWS_S8], None, oracle.swiglu(np.concatenate(both)))),
        "ROTARY_F32": _crc(oracle.rotate(floats[:half], floats[half : half + 16], floats[half + 16 :])),
        "ROUTE_F32": _crc([*gates, *chosen]),
        "ATTENTION_S8": _crc(heads),
        "ARGMAX_F32": int(np.argmax(floats)),
        "EXP_F32": _crc(oracle.exp(floats)),
        "SQRT_F32": _crc(np.sqrt(scales)),
    }


def _rows(values, per_line):
    return "".join(f"    {', '.join(values[i : i + per_line])},\n" for i in range(0, len(values), per_line))


def render():
    """The header."""
    floats, weights, groups, scales = _draw()
    # stored as SPEC.md 5: that of row 4t + k, group g at 4 (t B + g) + k
    stored_groups = groups.reshape(ROWS_S4 // 4, 4, 2).transpose(0, 2, 1).reshape(-1)
    literals = [f"{float(x).hex()}f" for x in floats]
    expected = "\n".join(f"#define EXPECTED_{name} 0x{value:08x}u" for name, value in expect().items())
    return f"""\
/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbers of the kernel self-test. Made by tests/firmware/selftest_vectors.py; do not edit. */
#ifndef MMOE_SELFTEST_VECTORS_H
#define MMOE_SELFTEST_VECTORS_H

#include <stdint.h>

static const float test_floats[{WIDTH}] = {{
{_rows(literals, 4)}}};

/* INT8 (8, 64) or INT4 (16, 64), packed as in SPEC.md 5 */
static const int8_t test_weights[512] __attribute__((aligned(16))) = {{
{_rows([str(x) for x in weights], 16)}}};

/* of the INT4 matrix */
static const uint8_t test_group_scales[{2 * ROWS_S4}] __attribute__((aligned(4))) = {{
{_rows([str(x) for x in stored_groups], 16)}}};

static const float test_row_scales[{ROWS_S4}] = {{
{_rows([f"{float(x).hex()}f" for x in scales], 4)}}};

{expected}

#endif
"""


if __name__ == "__main__":
    HEADER.write_text(render())
