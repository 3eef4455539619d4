/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_mve.h"

#if __ARM_FEATURE_MVE & 2

mmoe_status mmoe_quantize_row_s8(const float *x, uint32_t n, int8_t *q, float *scale) {
    const float m = mmoe_largest_f32(x, n);
    if (mmoe_bits(m) >= MMOE_LIMIT_BITS) return MMOE_E_NUMERIC;
    if (m < MMOE_TINY) {
        *scale = 0.0f;
        memset(q, 0, n);
        return MMOE_OK;
    }
    *scale = m / 127.0f;
    /* What MVE rounds to zero here is far below 1/2. */
    const uint32_t inverse = mmoe_bits(127.0f / m), magic = 0x4B400000u;
    __asm__ volatile("dlstp.32 lr, %[n]\n"
                     "1:\n"
                     "vldrw.32 q0, [%[x]], #16\n"
                     "vmul.f32 q0, q0, %[inverse]\n"
                     "vadd.f32 q0, q0, %[magic]\n"
                     "vstrb.32 q0, [%[q]], #4\n"
                     "letp lr, 1b\n"
                     : [x] "+l"(x), [q] "+l"(q)
                     : [n] "r"(n), [inverse] "r"(inverse), [magic] "r"(magic)
                     : "q0", "lr", "cc", "memory");
    return MMOE_OK;
}

#else
#include "../reference/mmoe_quantize_row_s8.c"
#endif
