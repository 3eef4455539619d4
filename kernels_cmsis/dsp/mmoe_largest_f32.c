/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_dsp.h"

#if defined(__ARM_FP) && (__ARM_FP & 4)

/* Magnitudes order as their bits do, shifted past the sign; infinity and NaN come last. */
float mmoe_largest_f32(const float *x, uint32_t n) {
    uint32_t largest = 0;
    for (; n >= 4; n -= 4) {
        uint32_t a, b;
        __asm__ volatile("ldrd %[a], %[b], [%[x]], #8\n"
                         "cmp %[m], %[a], lsl #1\n"
                         "it lo\n"
                         "lsllo %[m], %[a], #1\n"
                         "cmp %[m], %[b], lsl #1\n"
                         "it lo\n"
                         "lsllo %[m], %[b], #1\n"
                         "ldrd %[a], %[b], [%[x]], #8\n"
                         "cmp %[m], %[a], lsl #1\n"
                         "it lo\n"
                         "lsllo %[m], %[a], #1\n"
                         "cmp %[m], %[b], lsl #1\n"
                         "it lo\n"
                         "lsllo %[m], %[b], #1\n"
                         : [x] "+r"(x), [m] "+r"(largest), [a] "=&r"(a), [b] "=&r"(b)
                         :
                         : "cc", "memory");
    }
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t bits = mmoe_bits(x[i]) << 1;
        if (bits > largest) largest = bits;
    }
    return mmoe_float(largest >> 1);
}

#else
#include "../reference/mmoe_largest_f32.c"
#endif
