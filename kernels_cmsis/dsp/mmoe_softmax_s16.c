/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_exp.h"

/* f32(sum) * (factor * key_scale) */
static inline float scale_score(mmoe_word *z, float factor, float key_scale) {
    const float score = (float)z->i * mmoe_scalar(factor * key_scale);
    z->f = score;
    return score;
}

/* z becomes e * value_scale; *m is the largest so far. Magnitudes that are not negative order as their bits do. */
static inline float weigh_score(mmoe_word *z, float largest, float value_scale, uint32_t *m) {
    const float e = mmoe_exp_inline(mmoe_scalar(z->f - largest)), weight = e * value_scale;
    const uint32_t bits = mmoe_bits(weight);
    if (bits > *m) *m = bits;
    z->f = weight;
    return e;
}

/* Two integers below 2^15 in a word */
static inline uint32_t round_pair(float low, float high) {
    uint32_t result, a = mmoe_bits(low + 0x1.8p23f), b = mmoe_bits(high + 0x1.8p23f);
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(result) : "r"(a), "r"(b));
    return result;
}

float mmoe_softmax_s16(mmoe_word *z, uint32_t n, float factor, const float *key_scale, const float *value_scale,
                       int16_t *b) {
    const uint32_t whole = n & ~3u;
    float largest = scale_score(z, factor, key_scale[0]);
    for (uint32_t u = 1; u < n; u++) {
        const float score = scale_score(z + u, factor, key_scale[u]);
        if (score > largest) largest = score;
    }
    float l0 = 0.0f, l1 = 0.0f, l2 = 0.0f, l3 = 0.0f;
    uint32_t bits = 0;
    for (uint32_t u = 0; u < whole; u += 4) {
        l0 += weigh_score(z + u, largest, value_scale[u], &bits);
        l1 += weigh_score(z + u + 1, largest, value_scale[u + 1], &bits);
        l2 += weigh_score(z + u + 2, largest, value_scale[u + 2], &bits);
        l3 += weigh_score(z + u + 3, largest, value_scale[u + 3], &bits);
    }
    if (whole < n) l0 += weigh_score(z + whole, largest, value_scale[whole], &bits);
    if (whole + 1 < n) l1 += weigh_score(z + whole + 1, largest, value_scale[whole + 1], &bits);
    if (whole + 2 < n) l2 += weigh_score(z + whole + 2, largest, value_scale[whole + 2], &bits);
    const float m = mmoe_float(bits);
    uint32_t *word = (uint32_t *)(void *)b, *const end = word + MMOE_PAD(n, 16u) / 2;
    if (m < MMOE_TINY) {
        memset(b, 0, MMOE_PAD(n, 16u) * sizeof *b);
        return 0.0f;
    }
    const uint32_t limit = (1u << 24) / n;
    const float k = (float)(int32_t)(limit < 32767u ? limit : 32767u), inverse = k / m;
    for (uint32_t u = 0; u < whole; u += 4, word += 2) {
        word[0] = round_pair(z[u].f * inverse, z[u + 2].f * inverse);
        word[1] = round_pair(z[u + 1].f * inverse, z[u + 3].f * inverse);
    }
    if (whole < n) {
        word[0] = round_pair(z[whole].f * inverse, whole + 2 < n ? z[whole + 2].f * inverse : 0.0f);
        word[1] = round_pair(whole + 1 < n ? z[whole + 1].f * inverse : 0.0f, 0.0f);
        word += 2;
    }
    while (word < end) *word++ = 0;
    return (m / k) / ((l0 + l1) + (l2 + l3));
}
