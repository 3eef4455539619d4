/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_private.h"

float mmoe_softmax_s16(mmoe_word *z, uint32_t n, float factor, const float *key_scale, const float *value_scale,
                       int16_t *b) {
    float largest = 0.0f, total[4] = {0.0f, 0.0f, 0.0f, 0.0f}, m = 0.0f;
    for (uint32_t u = 0; u < n; u++) {
        z[u].f = (float)z[u].i * mmoe_scalar(factor * key_scale[u]);
        if (u == 0 || z[u].f > largest) largest = z[u].f;
    }
    for (uint32_t u = 0; u < n; u++) {
        float e = mmoe_exp_f32(mmoe_scalar(z[u].f - largest));
        total[u % 4] += e;
        z[u].f = e * value_scale[u];
        if (z[u].f > m) m = z[u].f;
    }
    memset(b, 0, MMOE_PAD(n, 16u) * sizeof *b);
    if (m < MMOE_TINY) return 0.0f;
    float k = mmoe_weight_limit(n), inverse = k / m;
    for (uint32_t u = 0; u < n; u++) b[u] = (int16_t)mmoe_rint(z[u].f * inverse);
    return (m / k) / ((total[0] + total[1]) + (total[2] + total[3]));
}
