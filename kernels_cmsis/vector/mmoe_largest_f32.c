/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_lanes.h"

static inline mmoe_s32x4 larger(mmoe_s32x4 a, mmoe_s32x4 b) {
    const mmoe_s32x4 above = a > b;
    return (a & above) | (b & ~above);
}

/* Magnitudes order as their bits do; infinity and NaN come last. */
static inline mmoe_s32x4 magnitudes(const float *x) { return (mmoe_s32x4)mmoe_load4(x) & 0x7FFFFFFF; }

float mmoe_largest_f32(const float *x, uint32_t n) {
    mmoe_s32x4 a = {0, 0, 0, 0}, b = a;
    for (; n >= 8; n -= 8, x += 8) a = larger(magnitudes(x), a), b = larger(magnitudes(x + 4), b);
    a = larger(a, b);
    int32_t best = 0;
    for (uint32_t i = 0; i < 4; i++) best = a[i] > best ? a[i] : best;
    for (uint32_t i = 0; i < n; i++) {
        const int32_t bits = (int32_t)(mmoe_bits(x[i]) & 0x7FFFFFFF);
        best = bits > best ? bits : best;
    }
    return mmoe_float((uint32_t)best);
}
