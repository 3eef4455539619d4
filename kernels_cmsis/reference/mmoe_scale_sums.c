/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_private.h"

void mmoe_scale_sums(mmoe_word *y, uint32_t rows, float scale, const float *row_scales) {
    for (; rows >= 4; rows -= 4, y += 4, row_scales += 4) {
        y[0].f = (float)y[0].i * mmoe_scalar(scale * row_scales[0]);
        y[1].f = (float)y[1].i * mmoe_scalar(scale * row_scales[1]);
        y[2].f = (float)y[2].i * mmoe_scalar(scale * row_scales[2]);
        y[3].f = (float)y[3].i * mmoe_scalar(scale * row_scales[3]);
    }
    for (uint32_t i = 0; i < rows; i++) y[i].f = (float)y[i].i * mmoe_scalar(scale * row_scales[i]);
}
