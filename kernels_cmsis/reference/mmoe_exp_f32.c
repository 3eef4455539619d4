/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_private.h"

float mmoe_exp_f32(float x) {
    x = x > -87.0f ? x : -87.0f; /* so that NaN becomes -87 */
    x = x < 87.0f ? x : 87.0f;
    const float t = x * 0x1.715476p+0f, shifted = t + 0x1.8p23f, f = t - (shifted - 0x1.8p23f);
    float y = 0x1.3a02ccp-7f;
    y = y * f + 0x1.c9fc46p-5f;
    y = y * f + 0x1.ec0378p-3f;
    y = y * f + 0x1.62e12cp-1f;
    y = y * f + 1.0f;
    return mmoe_float(mmoe_bits(y) + (mmoe_bits(shifted) << 23)); /* times 2^n, whose n the low bits hold: the result is normal */
}
