/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_lanes.h"

uint32_t mmoe_argmax_f32(const float *x, uint32_t n) {
    mmoe_f32x4 best = mmoe_all4(x[0]); /* when it is NaN, nothing is above it */
    uint32_t i = 0;
    for (; i + 4 <= n; i += 4) best = mmoe_above4(mmoe_load4(x + i), best);
    float largest = best[0];
    for (uint32_t lane = 1; lane < 4; lane++) largest = best[lane] > largest ? best[lane] : largest;
    for (; i < n; i++) largest = x[i] > largest ? x[i] : largest;
    for (i = 0; i < n; i++)
        if (x[i] == largest) return i;
    return 0;
}
