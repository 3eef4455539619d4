/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_gate.h"
#include "mmoe_private.h"

enum { ZERO = 0x49400000, FIRST = ZERO + MMOE_GATE_FIRST, LAST = ZERO + MMOE_GATE_LAST }; /* bits of 1.5 * 2^19 + c / 16 */

mmoe_status mmoe_swiglu_s8(float *gate_up, uint32_t n, float scale, mmoe_vector *q) {
    (void)scale;
    for (uint32_t i = 0; i < n; i++) {
        const float x = mmoe_scalar(gate_up[i]), shifted = x + 0x1.8p19f; /* rounded to sixteenths */
        int32_t line = (int32_t)mmoe_bits(shifted);
        line = (line < FIRST ? FIRST : line > LAST ? LAST : line) - FIRST;
        const float gate = mmoe_gate_table[line].value + (x - (shifted - 0x1.8p19f)) * mmoe_gate_table[line].slope;
        gate_up[i] = (x * gate) * gate_up[n + i];
    }
    return mmoe_quantize_s8(gate_up, n, q);
}
