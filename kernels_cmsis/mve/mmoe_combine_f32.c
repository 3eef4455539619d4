/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_mve.h"

#if __ARM_FEATURE_MVE & 2

#define mmoe_combine_f32 combine_scalar
static void combine_scalar(const float *sum, const float *outputs, uint32_t stride, const float *gate, uint32_t count,
                           uint32_t n, float *x);
#include "../reference/mmoe_combine_f32.c"
#undef mmoe_combine_f32

#define TERM(o, at)                        \
    "vldrw.32 q0, [r1, #" at "]\n"         \
    "vmul.f32 q0, q0, r12\n"               \
    "vadd.f32 " o ", " o ", q0\n"
#define ADD(o, at)                         \
    "vldrw.32 q0, [r0, #" at "]\n"         \
    "vadd.f32 " o ", " o ", q0\n"

typedef struct {
    const float *sum;     /* 0 */
    const float *outputs; /* 4 */
    uint32_t stride;      /* 8: bytes */
    const float *gate;    /* 12 */
    uint32_t count;       /* 16: at least 1 */
    float *x;             /* 20 */
    uint32_t sixteens;    /* 24: elements still to come, 16 at a time */
} combine_state;

/* Moves on until nothing is left, or until MVE rounded something to zero: then these 16 are not written. */
static MMOE_NAKED void combine_sixteens(MMOE_UNUSED combine_state *state) {
    __asm__("push {r4-r10, lr}\n"
            "vpush {d8-d15}\n"
            "mov r10, r0\n"
            "ldmia r0, {r2-r8}\n" /* r2 sum, r3 outputs, r4 stride, r5 gate, r6 count, r7 x, r8 sixteens */
            "vmrs r9, fpscr\n"
            "bic r9, r9, #0x88\n"
            "vmsr fpscr, r9\n"
            "0:\n"
            "vldrw.32 q4, [r2]\n"
            "vldrw.32 q5, [r2, #16]\n"
            "vldrw.32 q6, [r2, #32]\n"
            "vldrw.32 q7, [r2, #48]\n"
            "mov r1, r3\n"
            "mov r0, r5\n"
            "dls lr, r6\n"
            "1:\n"
            "ldr r12, [r0], #4\n" TERM("q4", "0") TERM("q5", "16") TERM("q6", "32") TERM("q7", "48")
            "adds r1, r1, r4\n"
            "le lr, 1b\n"
            "mov r0, r7\n" ADD("q4", "0") ADD("q5", "16") ADD("q6", "32") ADD("q7", "48")
            "vmrs r9, fpscr\n"
            "tst r9, #0x88\n"
            "bne 2f\n"
            "vstrw.32 q4, [r7], #16\n"
            "vstrw.32 q5, [r7], #16\n"
            "vstrw.32 q6, [r7], #16\n"
            "vstrw.32 q7, [r7], #16\n"
            "adds r2, r2, #64\n"
            "adds r3, r3, #64\n"
            "subs r8, r8, #1\n"
            "bne 0b\n"
            "2:\n"
            "stmia r10, {r2-r8}\n"
            "vpop {d8-d15}\n"
            "pop {r4-r10, pc}\n");
}

void mmoe_combine_f32(const float *sum, const float *outputs, uint32_t stride, const float *gate, uint32_t count, uint32_t n,
                      float *x) {
    combine_state s = {sum, outputs, 4 * stride, gate, count, x, count ? n / 16 : 0};
    while (s.sixteens) {
        combine_sixteens(&s);
        if (s.sixteens == 0) break;
        combine_scalar(s.sum, s.outputs, stride, gate, count, 16, s.x);
        s.sum += 16, s.outputs += 16, s.x += 16, s.sixteens--;
    }
    combine_scalar(s.sum, s.outputs, stride, gate, count, n - (uint32_t)(s.x - x), s.x);
}

#else
#include "../reference/mmoe_combine_f32.c"
#endif
