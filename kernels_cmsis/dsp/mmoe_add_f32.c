/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_dsp.h"

#if defined(__ARM_FP) && (__ARM_FP & 4)

void mmoe_add_f32(const float *x, uint32_t n, float *y) {
    for (; n >= 8; n -= 8) {
        __asm__ volatile("vldmia %[x]!, {s0-s7}\n"
                         "vldmia %[y], {s8-s15}\n"
                         "vadd.f32 s0, s8, s0\n"
                         "vadd.f32 s1, s9, s1\n"
                         "vadd.f32 s2, s10, s2\n"
                         "vadd.f32 s3, s11, s3\n"
                         "vadd.f32 s4, s12, s4\n"
                         "vadd.f32 s5, s13, s5\n"
                         "vadd.f32 s6, s14, s6\n"
                         "vadd.f32 s7, s15, s7\n"
                         "vstmia %[y]!, {s0-s7}\n"
                         : [x] "+r"(x), [y] "+r"(y)
                         :
                         : MMOE_S0_S15, "memory");
    }
    for (uint32_t i = 0; i < n; i++) y[i] = mmoe_scalar(y[i] + x[i]);
}

#else
#include "../reference/mmoe_add_f32.c"
#endif
