"""The table of SPEC.md 3.1's gate, from its text alone.

`python tests/kernels/gate_table.py` writes kernels_cmsis/reference/mmoe_gate.h anew.
"""

import math
from pathlib import Path

import numpy as np

HEADER = Path(__file__).resolve().parents[2] / "kernels_cmsis/reference/mmoe_gate.h"
FIRST, LAST = -256, 255


def _exact(j):
    return 1 / (1 + math.exp(-j / 16))


def line(c):
    """(value in the middle, slope) of line c, float32."""
    if c in (FIRST, LAST):
        return np.float32(c == LAST), np.float32(0)
    low, middle, high = _exact(c - 0.5), _exact(c), _exact(c + 0.5)
    return np.float32(middle / 2 + (low + high) / 4), np.float32(16 * (high - low))


def render():
    """The header."""
    lines = [line(c) for c in range(FIRST, LAST + 1)]
    rows = [", ".join(f"{{{float(g).hex()}f, {float(d).hex()}f}}" for g, d in lines[i : i + 2]) for i in range(0, len(lines), 2)]
    table = "".join(f"    {row},\n" for row in rows)
    return f"""/* SPDX-License-Identifier: Apache-2.0
 *
 * The lines of SPEC.md 3.1's gate. Made by tests/kernels/gate_table.py; do not edit. */
#ifndef MMOE_GATE_H
#define MMOE_GATE_H

/* Line c is number c - MMOE_GATE_FIRST. */
#define MMOE_GATE_FIRST ({FIRST})
#define MMOE_GATE_LAST {LAST}

static const struct {{ float value, slope; }} mmoe_gate_table[MMOE_GATE_LAST - MMOE_GATE_FIRST + 1] = {{
{table}}};

#endif
"""


if __name__ == "__main__":
    HEADER.write_text(render())
