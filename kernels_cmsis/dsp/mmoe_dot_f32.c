/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_dsp.h"

#if defined(__ARM_FP) && (__ARM_FP & 4)

float mmoe_dot_f32(const float *x, const float *y, uint32_t n) {
    float l0 = 0.0f, l1 = 0.0f, l2 = 0.0f, l3 = 0.0f;
    uint32_t eights = n / 8;
    if (eights) {
        __asm__ volatile("1:\n"
                         "vldmia %[x]!, {s0-s7}\n"
                         "vldmia %[y]!, {s8-s15}\n"
                         "vmul.f32 s0, s0, s8\n"
                         "vmul.f32 s1, s1, s9\n"
                         "vmul.f32 s2, s2, s10\n"
                         "vmul.f32 s3, s3, s11\n"
                         "vadd.f32 %[l0], %[l0], s0\n"
                         "vmul.f32 s4, s4, s12\n"
                         "vadd.f32 %[l1], %[l1], s1\n"
                         "vmul.f32 s5, s5, s13\n"
                         "vadd.f32 %[l2], %[l2], s2\n"
                         "vmul.f32 s6, s6, s14\n"
                         "vadd.f32 %[l3], %[l3], s3\n"
                         "vmul.f32 s7, s7, s15\n"
                         "vadd.f32 %[l0], %[l0], s4\n"
                         "vadd.f32 %[l1], %[l1], s5\n"
                         "vadd.f32 %[l2], %[l2], s6\n"
                         "vadd.f32 %[l3], %[l3], s7\n"
                         "subs %[eights], %[eights], #1\n"
                         "bne 1b\n"
                         : [x] "+r"(x), [y] "+r"(y), [eights] "+r"(eights), [l0] "+t"(l0), [l1] "+t"(l1), [l2] "+t"(l2),
                           [l3] "+t"(l3)
                         :
                         : MMOE_S0_S15, "cc", "memory");
    }
    n %= 8;
    for (; n >= 4; n -= 4, x += 4, y += 4) {
        l0 = mmoe_scalar(l0 + x[0] * y[0]);
        l1 = mmoe_scalar(l1 + x[1] * y[1]);
        l2 = mmoe_scalar(l2 + x[2] * y[2]);
        l3 = mmoe_scalar(l3 + x[3] * y[3]);
    }
    if (n > 0) l0 += x[0] * y[0];
    if (n > 1) l1 += x[1] * y[1];
    if (n > 2) l2 += x[2] * y[2];
    return (l0 + l1) + (l2 + l3);
}

#else
#include "../reference/mmoe_dot_f32.c"
#endif
