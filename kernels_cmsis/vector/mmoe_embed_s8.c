/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_lanes.h"

void mmoe_embed_s8(const mmoe_matrix *w, uint32_t row, float *x) {
    const int8_t *p = w->weights;
    p += row / MMOE_ROWS * MMOE_ROWS * MMOE_PAD(w->columns, 16u) + row % MMOE_ROWS * 16;
    const float scale = w->row_scales[row];
    uint32_t n = w->columns;
    for (; n >= 16; n -= 16, x += 16, p += MMOE_ROWS * 16)
        for (uint32_t i = 0; i < 16; i += 4) mmoe_store4(x + i, mmoe_widen4(p + i) * scale);
    for (uint32_t i = 0; i < n; i++) x[i] = (float)p[i] * scale;
}
