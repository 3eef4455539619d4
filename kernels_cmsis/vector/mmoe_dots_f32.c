/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_lanes.h"

void mmoe_dots_f32(const float *x, const float *w, uint32_t n, uint32_t rows, float *y) {
    for (const float *const end = y + rows; y < end; y++) {
        mmoe_f32x4 lanes = mmoe_all4(0.0f); /* those of the written order */
        uint32_t i = 0;
        for (; i + 4 <= n; i += 4, w += 4) lanes += mmoe_load4(x + i) * mmoe_load4(w);
        for (uint32_t lane = 0; i + lane < n; lane++) lanes[lane] += x[i + lane] * *w++;
        *y = (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
    }
}
