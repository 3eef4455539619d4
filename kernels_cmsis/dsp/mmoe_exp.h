/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MMOE_EXP_H
#define MMOE_EXP_H

#include "mmoe_dsp.h"

/* mmoe_exp_f32, inline: with an FPU a call costs as much as half of it. */
static inline float mmoe_exp_inline(float x) {
    if ((mmoe_bits(x) & 0x7FFFFFFFu) > 0x42AE0000u) x = x > 0.0f ? 87.0f : -87.0f; /* NaN gives -87 */
    const float shifted = x * 0x1.715476p+0f + 0x1.8p23f, whole = shifted - 0x1.8p23f;
    const float r = (x - whole * 0.693359375f) - whole * -0x1.bd0106p-13f;
    float p = 0x1.6d4328p-10f;
    p = p * r + 0x1.120b74p-7f;
    p = p * r + 0x1.5554eap-5f;
    p = p * r + 0x1.5554dcp-3f;
    p = p * r + 0x1.0p-1f;
    const float y = (p * (r * r) + r) + 1.0f;
    return mmoe_float(mmoe_bits(y) + (mmoe_bits(shifted) << 23)); /* times 2^n: the result is normal */
}

#endif
