/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_dsp.h"

#if defined(__ARM_FP) && (__ARM_FP & 4)

uint32_t mmoe_argmax_f32(const float *x, uint32_t n) {
    const float *p = x, *const end = x + n;
    const float *at = x;
    float best = *p++;
    for (; end - p >= 4; p += 4) {
        const float a = p[0], b = p[1], c = p[2], d = p[3];
        if (a > best) best = a, at = p;
        if (b > best) best = b, at = p + 1;
        if (c > best) best = c, at = p + 2;
        if (d > best) best = d, at = p + 3;
    }
    for (; p < end; p++)
        if (*p > best) best = *p, at = p;
    return (uint32_t)(at - x);
}

#else
#include "../reference/mmoe_argmax_f32.c"
#endif
