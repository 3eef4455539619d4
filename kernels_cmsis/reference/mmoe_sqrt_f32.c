/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_private.h"

#ifdef MMOE_HARD_FLOAT

float mmoe_sqrt_f32(float x) { return __builtin_sqrtf(x); }

#else

float mmoe_sqrt_f32(float x) {
    uint32_t bits = mmoe_bits(x);
    if (bits << 1 == 0 || bits >= 0x7F800000u) return x; /* zero, infinity, and what the contract excludes */
    int32_t exponent = (int32_t)(bits >> 23);
    uint32_t mantissa = bits & 0x7FFFFFu;
    if (exponent == 0) {
        exponent = 1;
        while (!(mantissa & 0x800000u)) mantissa <<= 1, exponent--;
    } else {
        mantissa |= 0x800000u;
    }
    exponent -= 127;
    if (exponent & 1) mantissa <<= 1, exponent--;
    /* x = mantissa * 2^(exponent - 23), exponent even: 25 bits of the root, one digit at a time, then the sticky rest */
    uint32_t root = 0, rest = 0, digits = mantissa << 7; /* 32 bits, 2 of them before the point */
    for (int32_t i = 0; i < 25; i++) {
        rest = rest << 2 | digits >> 30;
        digits <<= 2;
        root <<= 1;
        uint32_t trial = root << 1 | 1;
        if (rest >= trial) rest -= trial, root |= 1;
    }
    /* root has one bit before the point and 24 after it: the last one is the rounding bit; a tie cannot happen */
    uint32_t rounded = (root >> 1) + (root & 1);
    return mmoe_float(((uint32_t)(exponent / 2 + 126) << 23) + rounded);
}

#endif
