/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_lanes.h"

float mmoe_dot_f32(const float *x, const float *y, uint32_t n) {
    mmoe_f32x4 lanes = mmoe_all4(0.0f); /* those of the written order */
    for (; n >= 4; n -= 4, x += 4, y += 4) lanes += mmoe_load4(x) * mmoe_load4(y);
    for (uint32_t i = 0; i < n; i++) lanes[i] += x[i] * y[i];
    return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
}
