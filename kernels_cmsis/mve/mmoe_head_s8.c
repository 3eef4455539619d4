/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_round.h"

#if __ARM_FEATURE_MVE & 2

typedef struct {
    float *x;            /* 0: the first half, the second one behind it */
    const float *cosine; /* 4 */
    const float *sine;   /* 8 */
    uint32_t half;       /* 12 */
    int8_t *q;           /* 16 */
    float *scale;        /* 20 */
} turning;

/* x, rotated, is quantized: returns the bits of the largest magnitude. Magnitudes order as their bits do; infinity and NaN come
 * last. Below 2^-64 and from 2^60 on nothing is written but x. */
static MMOE_NAKED uint32_t turn(MMOE_UNUSED const turning *t) {
    __asm__("push {r4, lr}\n"
            "vpush {d8-d11}\n"
            "mov r4, r0\n"
            "vmov.i32 q5, #0\n"
            "ldm r4, {r0-r3}\n"
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
            "sub r1, r0, #0x1F800000\n" /* 2^-64 */
            "cmp r1, #0x3E000000\n"     /* 2^60 */
            "bhs 3f\n"
            "movw r1, #0x0000\n"
            "movt r1, #0x42FE\n" /* 127 */
            "vmov s0, r0\n"
            "vmov s1, r1\n"
            "vdiv.f32 s2, s0, s1\n"
            "vdiv.f32 s0, s1, s0\n"
            "ldrd r1, r12, [r4, #16]\n"
            "ldr r4, [r4]\n"
            "vstr s2, [r12]\n"
            "vmov r2, s0\n"
            "movw r12, #0x0000\n"
            "movt r12, #0x4B40\n"
            "lsls r3, r3, #1\n"
            "dlstp.32 lr, r3\n"
            "2:\n"
            "vldrw.32 q0, [r4], #16\n"
            "vmul.f32 q0, q0, r2\n"
            "vadd.f32 q0, q0, r12\n"
            "vstrb.32 q0, [r1], #4\n"
            "letp lr, 2b\n"
            "3:\n"
            "vpop {d8-d11}\n"
            "pop {r4, pc}\n");
}

/* What MVE rounds to zero on the way is less than 2^-126 of a result that is below 2^-98 then, and 2^-64 is the least that counts. */
mmoe_status mmoe_head_s8(const mmoe_attention *a, float *x, uint32_t position, int8_t *q, float *scale) {
    const uint32_t dim = a->head_dim, half = dim / 2;
    if (a->qk_norm) {
        mmoe_turn_head(a, x, position);
        return mmoe_quantize_row_s8(x, dim, q, scale);
    }
    const uint32_t largest = turn(&(turning){x, a->cosine + position * half, a->sine + position * half, half, q, scale});
    if (largest - 0x1F800000u < 0x3E000000u) return MMOE_OK;
    return mmoe_round_row_s8(x, dim, largest, q, scale);
}

#else
#include "../reference/mmoe_head_s8.c"
#endif
