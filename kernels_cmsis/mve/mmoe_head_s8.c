/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_round.h"

#if __ARM_FEATURE_MVE & 2

/* x, z: the two halves, rotated; returns the bits of the largest magnitude. Magnitudes order as their bits do; infinity and NaN
 * come last. */
static MMOE_NAKED uint32_t rotate(MMOE_UNUSED float *x, MMOE_UNUSED const float *cosine, MMOE_UNUSED const float *sine,
                                  MMOE_UNUSED uint32_t half) {
    __asm__("push {r3, lr}\n"
            "vpush {d8-d11}\n"
            "vmov.i32 q5, #0\n"
            "add r12, r0, r3, lsl #2\n"
            "dlstp.32 lr, r3\n"
            "1:\n"
            "vldrw.32 q0, [r0]\n"
            "vldrw.32 q2, [r1], #16\n"
            "vmul.f32 q4, q0, q2\n"
            "vldrw.32 q1, [r12]\n"
            "vmul.f32 q2, q1, q2\n"
            "vldrw.32 q3, [r2], #16\n"
            "vmul.f32 q1, q1, q3\n"
            "vmul.f32 q0, q0, q3\n"
            "vsub.f32 q4, q4, q1\n"
            "vadd.f32 q2, q2, q0\n"
            "vstrw.32 q4, [r0], #16\n"
            "vbic.i32 q4, #0x80000000\n"
            "vstrw.32 q2, [r12], #16\n"
            "vmax.u32 q5, q5, q4\n"
            "vbic.i32 q2, #0x80000000\n"
            "vmax.u32 q5, q5, q2\n"
            "letp lr, 1b\n"
            "movs r0, #0\n"
            "vmaxv.u32 r0, q5\n"
            "vpop {d8-d11}\n"
            "pop {r3, pc}\n");
}

/* What MVE rounds to zero on the way is less than 2^-126 of a result that is below 2^-98 then, and 2^-64 is the least that counts. */
mmoe_status mmoe_head_s8(const mmoe_attention *a, float *x, uint32_t position, int8_t *q, float *scale) {
    const uint32_t dim = a->head_dim, half = dim / 2;
    if (a->qk_norm) {
        mmoe_turn_head(a, x, position);
        return mmoe_quantize_row_s8(x, dim, q, scale);
    }
    return mmoe_round_row_s8(x, dim, rotate(x, a->cosine + position * half, a->sine + position * half, half), q, scale);
}

#else
#include "../reference/mmoe_head_s8.c"
#endif
