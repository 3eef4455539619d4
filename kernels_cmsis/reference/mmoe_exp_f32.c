/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_private.h"

float mmoe_exp_f32(float x) {
    x = x > -87.0f ? x : -87.0f; /* so that NaN becomes -87 */
    x = x < 87.0f ? x : 87.0f;
    float shifted = x * 0x1.715476p+0f + 0x1.8p23f;
    uint32_t n = mmoe_bits(shifted); /* its low bits hold the exponent */
    float whole = shifted - 0x1.8p23f;
    float r = (x - whole * 0.693359375f) - whole * -0x1.bd0106p-13f;
    float p = 0x1.6d4328p-10f;
    p = p * r + 0x1.120b74p-7f;
    p = p * r + 0x1.5554eap-5f;
    p = p * r + 0x1.5554dcp-3f;
    p = p * r + 0x1.0p-1f;
    float y = (p * (r * r) + r) + 1.0f;
    return y * mmoe_float((n + 127u) << 23);
}
