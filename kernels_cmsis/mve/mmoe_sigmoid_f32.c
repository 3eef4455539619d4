/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_exp.h"

#if __ARM_FEATURE_MVE & 2

/* 1 + exp(x) and its inverse are normal: nothing is flushed. */
MMOE_NAKED void mmoe_sigmoid_f32(MMOE_UNUSED float *x, MMOE_UNUSED uint32_t n) {
    __asm__("push {r3-r11, lr}\n"
            "vpush {d8-d15}\n"
            "mov lr, r1\n" MMOE_EXP_CONSTANTS
            "vmov s16, r3\n"
            "dlstp.32 lr, lr\n"
            "1:\n"
            "vldrw.32 q0, [r0]\n"
            "vneg.f32 q0, q0\n" MMOE_EXP_CLAMP MMOE_EXP_Q0
            "vadd.f32 q0, q0, r3\n"
            "vdiv.f32 s0, s16, s0\n"
            "vdiv.f32 s1, s16, s1\n"
            "vdiv.f32 s2, s16, s2\n"
            "vdiv.f32 s3, s16, s3\n"
            "vstrw.32 q0, [r0], #16\n"
            "letp lr, 1b\n"
            "vpop {d8-d15}\n"
            "pop {r3-r11, pc}\n");
}

#else
#include "../reference/mmoe_sigmoid_f32.c"
#endif
