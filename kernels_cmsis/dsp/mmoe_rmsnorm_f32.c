/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_dsp.h"

#if defined(__ARM_FP) && (__ARM_FP & 4)

void mmoe_rmsnorm_f32(const float *x, const float *w, uint32_t n, float eps, float *y) {
    const float r = mmoe_rms_f32(x, n, eps);
    if (!w) {
        for (; n >= 4; n -= 4, x += 4, y += 4) {
            const float a = x[0] * r, b = x[1] * r, c = x[2] * r, d = x[3] * r;
            y[0] = mmoe_scalar(a), y[1] = mmoe_scalar(b), y[2] = mmoe_scalar(c), y[3] = mmoe_scalar(d);
        }
        for (uint32_t i = 0; i < n; i++) y[i] = mmoe_scalar(x[i] * r);
        return;
    }
    for (; n >= 8; n -= 8) {
        __asm__ volatile("vldmia %[x]!, {s0-s7}\n"
                         "vldmia %[w]!, {s8-s15}\n"
                         "vmul.f32 s0, s0, %[r]\n"
                         "vmul.f32 s1, s1, %[r]\n"
                         "vmul.f32 s2, s2, %[r]\n"
                         "vmul.f32 s3, s3, %[r]\n"
                         "vmul.f32 s4, s4, %[r]\n"
                         "vmul.f32 s5, s5, %[r]\n"
                         "vmul.f32 s6, s6, %[r]\n"
                         "vmul.f32 s7, s7, %[r]\n"
                         "vmul.f32 s0, s0, s8\n"
                         "vmul.f32 s1, s1, s9\n"
                         "vmul.f32 s2, s2, s10\n"
                         "vmul.f32 s3, s3, s11\n"
                         "vmul.f32 s4, s4, s12\n"
                         "vmul.f32 s5, s5, s13\n"
                         "vmul.f32 s6, s6, s14\n"
                         "vmul.f32 s7, s7, s15\n"
                         "vstmia %[y]!, {s0-s7}\n"
                         : [x] "+r"(x), [w] "+r"(w), [y] "+r"(y)
                         : [r] "t"(r)
                         : MMOE_S0_S15, "memory");
    }
    for (uint32_t i = 0; i < n; i++) y[i] = mmoe_scalar(x[i] * r) * w[i];
}

#else
#include "../reference/mmoe_rmsnorm_f32.c"
#endif
