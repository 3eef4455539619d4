/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_exp.h"

#if __ARM_FEATURE_MVE & 2

/* The division and the last product are scalar: MVE has no division, and both may be subnormal. */
static MMOE_NAKED void swiglu(MMOE_UNUSED const float *gate, MMOE_UNUSED const float *up, MMOE_UNUSED float *h,
                              MMOE_UNUSED uint32_t n) {
    __asm__("push {r4-r11, lr}\n"
            "vpush {d8-d15}\n"
            "mov lr, r3\n" MMOE_EXP_CONSTANTS
            "dlstp.32 lr, lr\n"
            "1:\n"
            "vldrw.32 q4, [r0], #16\n"
            "vneg.f32 q0, q4\n" MMOE_EXP_Q0
            "vadd.f32 q0, q0, r3\n"
            "vldrw.32 q5, [r1], #16\n"
            "vdiv.f32 s0, s16, s0\n"
            "vdiv.f32 s1, s17, s1\n"
            "vdiv.f32 s2, s18, s2\n"
            "vdiv.f32 s3, s19, s3\n"
            "vmul.f32 s0, s0, s20\n"
            "vmul.f32 s1, s1, s21\n"
            "vmul.f32 s2, s2, s22\n"
            "vmul.f32 s3, s3, s23\n"
            "vstrw.32 q0, [r2], #16\n"
            "letp lr, 1b\n"
            "vpop {d8-d15}\n"
            "pop {r4-r11, pc}\n");
}

void mmoe_swiglu_f32(const float *gate_up, uint32_t n, float *h) { swiglu(gate_up, gate_up + n, h, n); }

#else
#include "../reference/mmoe_swiglu_f32.c"
#endif
