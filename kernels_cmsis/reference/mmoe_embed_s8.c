/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_private.h"

void mmoe_embed_s8(const mmoe_matrix *w, uint32_t row, float *x) {
    const int8_t *p = w->weights;
    p += row / MMOE_ROWS * MMOE_ROWS * MMOE_PAD(w->columns, 16u) + row % MMOE_ROWS * 16;
    float scale = w->row_scales[row];
    for (uint32_t i = 0; i < w->columns; i++) x[i] = (float)p[i / 16 * (MMOE_ROWS * 16) + i % 16] * mmoe_scalar(scale);
}
