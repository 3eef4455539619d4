/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MMOE_EXP_H
#define MMOE_EXP_H

#include "mmoe_dsp.h"

/* mmoe_exp_f32, inline: with an FPU a call costs as much as half of it. */
static inline float mmoe_exp_inline(float x) {
    if ((mmoe_bits(x) & 0x7FFFFFFFu) > 0x42AE0000u) x = x > 0.0f ? 87.0f : -87.0f; /* NaN gives -87 */
    const float t = x * 0x1.715476p+0f, shifted = t + 0x1.8p23f, f = t - (shifted - 0x1.8p23f);
    float y = 0x1.3a02ccp-7f;
    y = y * f + 0x1.c9fc46p-5f;
    y = y * f + 0x1.ec0378p-3f;
    y = y * f + 0x1.62e12cp-1f;
    y = y * f + 1.0f;
    return mmoe_float(mmoe_bits(y) + (mmoe_bits(shifted) << 23)); /* times 2^n: the result is normal */
}

#endif
