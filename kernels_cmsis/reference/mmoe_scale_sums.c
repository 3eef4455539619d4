/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_private.h"

#ifdef MMOE_HARD_FLOAT

void mmoe_scale_sums(mmoe_word *y, uint32_t rows, float scale, const float *row_scales) {
    for (; rows >= 4; rows -= 4, y += 4, row_scales += 4) {
        y[0].f = (float)y[0].i * mmoe_scalar(scale * row_scales[0]);
        y[1].f = (float)y[1].i * mmoe_scalar(scale * row_scales[1]);
        y[2].f = (float)y[2].i * mmoe_scalar(scale * row_scales[2]);
        y[3].f = (float)y[3].i * mmoe_scalar(scale * row_scales[3]);
    }
    for (uint32_t i = 0; i < rows; i++) y[i].f = (float)y[i].i * mmoe_scalar(scale * row_scales[i]);
}

#else

/* A positive number: mantissa (2^23 to 2^24 - 1) times 2^(exponent - 150) */
typedef struct {
    uint32_t mantissa;
    int32_t exponent;
} number;

/* Rounds mantissa + rest / 2^24 to even. */
static inline number round_number(uint32_t mantissa, uint32_t rest, int32_t exponent) {
    if (rest + (mantissa & 1) > 0x800000u) mantissa++;
    if (mantissa >> 24) mantissa >>= 1, exponent++;
    return (number){mantissa, exponent};
}

static inline number multiply(number a, number b) {
#if defined(__ARM_ARCH_ISA_THUMB) && __ARM_ARCH_ISA_THUMB == 1 /* no product of 64 bits */
    const uint32_t a_high = a.mantissa >> 12, a_low = a.mantissa & 0xFFFu, b_high = b.mantissa >> 12, b_low = b.mantissa & 0xFFFu;
    const uint32_t middle = a_high * b_low + a_low * b_high, below = a_low * b_low + (middle << 20 >> 8);
    uint32_t high = a_high * b_high + (middle >> 12) + (below >> 24), low = below & 0xFFFFFFu;
#else
    const uint64_t product = (uint64_t)a.mantissa * b.mantissa;
    uint32_t high = (uint32_t)(product >> 24), low = (uint32_t)product & 0xFFFFFFu;
#endif
    int32_t exponent = a.exponent + b.exponent - 126;
    if (high < 0x800000u) {
        high = high << 1 | low >> 23;
        low = low << 1 & 0xFFFFFFu;
        exponent--;
    }
    return round_number(high, low, exponent);
}

/* f32 of a magnitude that is not 0 */
static inline number convert(uint32_t magnitude) {
#if defined(__ARM_ARCH_ISA_THUMB) && __ARM_ARCH_ISA_THUMB == 1 /* no instruction that counts zeros */
    int32_t exponent = 158;
    if (magnitude < 0x10000u) magnitude <<= 16, exponent -= 16;
    if (magnitude < 0x1000000u) magnitude <<= 8, exponent -= 8;
    if (magnitude < 0x10000000u) magnitude <<= 4, exponent -= 4;
    if (magnitude < 0x40000000u) magnitude <<= 2, exponent -= 2;
    if (magnitude < 0x80000000u) magnitude <<= 1, exponent -= 1;
#else
    const int32_t zeros = __builtin_clz(magnitude), exponent = 158 - zeros;
    magnitude <<= zeros;
#endif
    return round_number(magnitude >> 8, magnitude << 16 & 0xFFFFFFu, exponent);
}

static inline number take_apart(uint32_t bits) { return (number){(bits & 0x7FFFFFu) | 0x800000u, (int32_t)(bits >> 23)}; }

/* In integers, because the compiler's own float products cost several times as much. Scales are positive; what is not a normal
 * number on the way is left to the compiler. */
void mmoe_scale_sums(mmoe_word *y, uint32_t rows, float scale, const float *row_scales) {
    const number input = take_apart(mmoe_bits(scale));
    for (const mmoe_word *const end = y + rows; y < end; y++, row_scales++) {
        const int32_t sum = y->i;
        const number product = multiply(input, take_apart(mmoe_bits(*row_scales)));
        const number result = multiply(product, convert(sum < 0 ? 0u - (uint32_t)sum : (uint32_t)sum | (sum == 0)));
        const int normal = mmoe_bits(scale) - 0x800000u < 0x7F000000u && mmoe_bits(*row_scales) - 0x800000u < 0x7F000000u &&
                           product.exponent > 0 && result.exponent > 0 && result.exponent < 255;
        if (!normal)
            y->f = (float)sum * (scale * *row_scales);
        else
            y->u = sum == 0 ? 0 : ((uint32_t)sum & 0x80000000u) + ((uint32_t)result.exponent << 23) + (result.mantissa - 0x800000u);
    }
}

#endif
