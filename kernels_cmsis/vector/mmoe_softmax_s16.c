/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_lanes.h"

static float largest_lane(mmoe_f32x4 v) {
    float largest = v[0];
    for (uint32_t i = 1; i < 4; i++) largest = v[i] > largest ? v[i] : largest;
    return largest;
}

float mmoe_softmax_s16(mmoe_word *z, uint32_t n, float factor, const float *key_scale, const float *value_scale,
                       int16_t *b) {
    const uint32_t whole = n & ~3u;
    mmoe_f32x4 most = mmoe_all4(-__builtin_inff()), total = mmoe_all4(0.0f), most_a = total;
    for (uint32_t u = 0; u < whole; u += 4) {
        mmoe_s32x4 sums;
        memcpy(&sums, &z[u], sizeof sums);
        const mmoe_f32x4 scores = __builtin_convertvector(sums, mmoe_f32x4) * (factor * mmoe_load4(key_scale + u));
        most = mmoe_above4(scores, most);
        memcpy(&z[u], &scores, sizeof scores);
    }
    float largest = largest_lane(most);
    for (uint32_t u = whole; u < n; u++) {
        z[u].f = (float)z[u].i * (factor * key_scale[u]);
        largest = z[u].f > largest ? z[u].f : largest;
    }
    for (uint32_t u = 0; u < whole; u += 4) {
        const mmoe_f32x4 e = mmoe_exp4(mmoe_load4(&z[u].f) - largest), a = e * mmoe_load4(value_scale + u);
        total += e;
        most_a = mmoe_above4(a, most_a);
        mmoe_store4(&z[u].f, a);
    }
    float m = largest_lane(most_a);
    for (uint32_t u = whole; u < n; u++) {
        const float e = mmoe_exp_f32(z[u].f - largest);
        total[u % 4] += e;
        z[u].f = e * value_scale[u];
        m = z[u].f > m ? z[u].f : m;
    }
    memset(b + n, 0, (MMOE_PAD(n, 16u) - n) * sizeof *b);
    if (m < MMOE_TINY) {
        memset(b, 0, n * sizeof *b);
        return 0.0f;
    }
    const float k = mmoe_weight_limit(n), inverse = k / m;
    uint32_t u = 0;
    for (; u + 8 <= n; u += 8)
        mmoe_narrow8(mmoe_rint4(mmoe_load4(&z[u].f) * inverse), mmoe_rint4(mmoe_load4(&z[u + 4].f) * inverse), b + u);
    for (; u < n; u++) b[u] = (int16_t)mmoe_rint(z[u].f * inverse);
    return (m / k) / ((total[0] + total[1]) + (total[2] + total[3]));
}
