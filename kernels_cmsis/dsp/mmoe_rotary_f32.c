/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_dsp.h"

#if defined(__ARM_FP) && (__ARM_FP & 4)

void mmoe_rotary_f32(float *x, const float *cosine, const float *sine, uint32_t head_dim) {
    const uint32_t half = head_dim / 2;
    float *z = x + half;
    uint32_t n = half;
    for (; n >= 4; n -= 4) {
        __asm__ volatile("vldmia %[x], {s0-s3}\n"
                         "vldmia %[z], {s4-s7}\n"
                         "vldmia %[c]!, {s8-s11}\n"
                         "vldmia %[s]!, {s12-s15}\n"
                         "vmul.f32 s16, s4, s12\n"
                         "vmul.f32 s17, s5, s13\n"
                         "vmul.f32 s18, s6, s14\n"
                         "vmul.f32 s19, s7, s15\n"
                         "vmul.f32 s4, s4, s8\n"
                         "vmul.f32 s5, s5, s9\n"
                         "vmul.f32 s6, s6, s10\n"
                         "vmul.f32 s7, s7, s11\n"
                         "vmul.f32 s12, s0, s12\n"
                         "vmul.f32 s13, s1, s13\n"
                         "vmul.f32 s14, s2, s14\n"
                         "vmul.f32 s15, s3, s15\n"
                         "vmul.f32 s0, s0, s8\n"
                         "vmul.f32 s1, s1, s9\n"
                         "vmul.f32 s2, s2, s10\n"
                         "vmul.f32 s3, s3, s11\n"
                         "vadd.f32 s4, s4, s12\n"
                         "vadd.f32 s5, s5, s13\n"
                         "vadd.f32 s6, s6, s14\n"
                         "vadd.f32 s7, s7, s15\n"
                         "vsub.f32 s0, s0, s16\n"
                         "vsub.f32 s1, s1, s17\n"
                         "vsub.f32 s2, s2, s18\n"
                         "vsub.f32 s3, s3, s19\n"
                         "vstmia %[x]!, {s0-s3}\n"
                         "vstmia %[z]!, {s4-s7}\n"
                         : [x] "+r"(x), [z] "+r"(z), [c] "+r"(cosine), [s] "+r"(sine)
                         :
                         : MMOE_S0_S15, "s16", "s17", "s18", "s19", "memory");
    }
    for (uint32_t i = 0; i < n; i++) {
        const float a = x[i], b = z[i];
        x[i] = mmoe_scalar(a * cosine[i] - b * sine[i]);
        z[i] = mmoe_scalar(b * cosine[i] + a * sine[i]);
    }
}

#else
#include "../reference/mmoe_rotary_f32.c"
#endif
