/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MMOE_ROUND_H
#define MMOE_ROUND_H

#include "mmoe_mve.h"

#if __ARM_FEATURE_MVE & 2

/* q = x * inverse, rounded. What MVE rounds to zero here is far below 1/2. */
static inline void mmoe_round_row(const float *x, uint32_t n, float inverse, int8_t *q) {
    const uint32_t inverse_bits = mmoe_bits(inverse), magic = 0x4B400000u;
    __asm__ volatile("wls lr, %[whole], 2f\n"
                     "1:\n"
                     "vldrw.32 q0, [%[x]], #16\n"
                     "vmul.f32 q0, q0, %[inverse]\n"
                     "vldrw.32 q1, [%[x]], #16\n"
                     "vadd.f32 q0, q0, %[magic]\n"
                     "vmul.f32 q1, q1, %[inverse]\n"
                     "vstrb.32 q0, [%[q]], #4\n"
                     "vldrw.32 q0, [%[x]], #16\n"
                     "vadd.f32 q1, q1, %[magic]\n"
                     "vmul.f32 q0, q0, %[inverse]\n"
                     "vstrb.32 q1, [%[q]], #4\n"
                     "vldrw.32 q1, [%[x]], #16\n"
                     "vadd.f32 q0, q0, %[magic]\n"
                     "vmul.f32 q1, q1, %[inverse]\n"
                     "vstrb.32 q0, [%[q]], #4\n"
                     "vadd.f32 q1, q1, %[magic]\n"
                     "vstrb.32 q1, [%[q]], #4\n"
                     "le lr, 1b\n"
                     "2:\n"
                     "wlstp.32 lr, %[rest], 4f\n"
                     "3:\n"
                     "vldrw.32 q0, [%[x]], #16\n"
                     "vmul.f32 q0, q0, %[inverse]\n"
                     "vadd.f32 q0, q0, %[magic]\n"
                     "vstrb.32 q0, [%[q]], #4\n"
                     "letp lr, 3b\n"
                     "4:\n"
                     : [x] "+l"(x), [q] "+l"(q)
                     : [whole] "r"(n / 16), [rest] "r"(n % 16), [inverse] "r"(inverse_bits), [magic] "r"(magic)
                     : "q0", "q1", "lr", "cc", "memory");
}

/* mmoe_quantize_row_s8 where the bits of max |x_i| are known */
static inline mmoe_status mmoe_round_row_s8(const float *x, uint32_t n, uint32_t largest, int8_t *q, float *scale) {
    const float m = mmoe_float(largest);
    if (largest >= MMOE_LIMIT_BITS) return MMOE_E_NUMERIC;
    if (m < MMOE_TINY) {
        *scale = 0.0f;
        memset(q, 0, n);
        return MMOE_OK;
    }
    *scale = m / 127.0f;
    mmoe_round_row(x, n, 127.0f / m, q);
    return MMOE_OK;
}

/* The same for mmoe_quantize_s8 */
static inline mmoe_status mmoe_round_s8(const float *x, uint32_t n, uint32_t largest, mmoe_vector *q) {
    int8_t *to = mmoe_vector_s8(q);
    if (n % 32) memset(to + n, 0, 32 - n % 32);
    return mmoe_round_row_s8(x, n, largest, to, &q->scale);
}

#endif
#endif
