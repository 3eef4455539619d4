/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_exp.h"

float mmoe_softmax_s16(mmoe_word *z, uint32_t n, float factor, const float *key_scale, const float *value_scale,
                       int16_t *b) {
    float largest = 0.0f, total[4] = {0.0f, 0.0f, 0.0f, 0.0f}, m = 0.0f;
    for (uint32_t u = 0; u < n; u++) {
        z[u].f = (float)z[u].i * mmoe_scalar(factor * key_scale[u]);
        if (u == 0 || z[u].f > largest) largest = z[u].f;
    }
    for (uint32_t u = 0; u < n; u++) {
        float e = mmoe_exp_inline(mmoe_scalar(z[u].f - largest));
        total[u % 4] += e;
        z[u].f = e * value_scale[u];
        if (z[u].f > m) m = z[u].f;
    }
    memset(b, 0, MMOE_PAD(n, 16u) * sizeof *b);
    if (m < MMOE_TINY) return 0.0f;
    uint32_t limit = (1u << 24) / n;
    float k = (float)(int32_t)(limit < 32767u ? limit : 32767u), inverse = k / m;
    for (uint32_t u = 0; u < n; u++) {
        /* 1 and 2 of each four change places */
        uint32_t at = u + (u % 4 == 1) - (u % 4 == 2);
        b[at] = (int16_t)mmoe_rint(z[u].f * inverse);
    }
    return (m / k) / ((total[0] + total[1]) + (total[2] + total[3]));
}
