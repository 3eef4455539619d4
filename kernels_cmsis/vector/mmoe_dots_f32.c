/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_lanes.h"

enum { AT_ONCE = 4 }; /* rows: each sum waits for its own last addition, so several are under way */

/* Lanes of the written order, of AT_ONCE rows that follow each other */
static inline void add_rows(const float *x, const float *w, uint32_t n, float *y) {
    mmoe_f32x4 lanes[AT_ONCE];
    uint32_t i = 0;
    for (uint32_t r = 0; r < AT_ONCE; r++) lanes[r] = mmoe_all4(0.0f);
    for (; i + 4 <= n; i += 4) {
        const mmoe_f32x4 input = mmoe_load4(x + i);
        for (uint32_t r = 0; r < AT_ONCE; r++) lanes[r] += input * mmoe_load4(w + r * n + i);
    }
    for (uint32_t r = 0; r < AT_ONCE; r++) {
        for (uint32_t lane = 0; i + lane < n; lane++) lanes[r][lane] += x[i + lane] * w[r * n + i + lane];
        y[r] = (lanes[r][0] + lanes[r][1]) + (lanes[r][2] + lanes[r][3]);
    }
}

void mmoe_dots_f32(const float *x, const float *w, uint32_t n, uint32_t rows, float *y) {
    for (; rows >= AT_ONCE; rows -= AT_ONCE, y += AT_ONCE, w += AT_ONCE * n) add_rows(x, w, n, y);
    for (const float *const end = y + rows; y < end; y++) {
        mmoe_f32x4 lanes = mmoe_all4(0.0f);
        uint32_t i = 0;
        for (; i + 4 <= n; i += 4, w += 4) lanes += mmoe_load4(x + i) * mmoe_load4(w);
        for (uint32_t lane = 0; i + lane < n; lane++) lanes[lane] += x[i + lane] * *w++;
        *y = (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
    }
}
