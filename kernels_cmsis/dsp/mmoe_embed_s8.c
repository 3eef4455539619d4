/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_dsp.h"

void mmoe_embed_s8(const mmoe_matrix *w, uint32_t row, float *x) {
    const int8_t *p = w->weights;
    const float scale = w->row_scales[row];
    p += row / MMOE_ROWS * MMOE_ROWS * MMOE_PAD(w->columns, 16u) + row % MMOE_ROWS * 16;
    for (uint32_t left = w->columns; left; p += MMOE_ROWS * 16 - 16) {
        const uint32_t count = left < 16 ? left : 16;
        for (const int8_t *end = p + count; p < end; p++) *x++ = (float)*p * mmoe_scalar(scale);
        p += 16 - count;
        left -= count;
    }
}
