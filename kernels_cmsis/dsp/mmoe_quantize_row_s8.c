/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_dsp.h"

#if defined(__ARM_FP) && (__ARM_FP & 4)

mmoe_status mmoe_quantize_row_s8(const float *x, uint32_t n, int8_t *q, float *scale) {
    const float m = mmoe_largest_f32(x, n);
    if (mmoe_bits(m) >= MMOE_LIMIT_BITS) return MMOE_E_NUMERIC;
    if (m < MMOE_TINY) {
        *scale = 0.0f;
        memset(q, 0, n);
        return MMOE_OK;
    }
    *scale = m / 127.0f;
    const float inverse = 127.0f / m, magic = 0x1.8p23f;
    for (; n >= 4; n -= 4) {
        uint32_t a, b, c, d;
        __asm__ volatile(MMOE_ROUND_FOUR
                         "strb %[a], [%[q]], #1\n"
                         "strb %[b], [%[q]], #1\n"
                         "strb %[c], [%[q]], #1\n"
                         "strb %[d], [%[q]], #1\n"
                         : [x] "+r"(x), [q] "+r"(q), [a] "=&r"(a), [b] "=&r"(b), [c] "=&r"(c), [d] "=&r"(d)
                         : [inverse] "t"(inverse), [magic] "t"(magic)
                         : "s0", "s1", "s2", "s3", "memory");
    }
    for (uint32_t i = 0; i < n; i++) q[i] = (int8_t)mmoe_rint(x[i] * inverse);
    return MMOE_OK;
}

#else
#include "../reference/mmoe_quantize_row_s8.c"
#endif
