/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_mve.h"

#if __ARM_FEATURE_MVE & 2

#define mmoe_dots_f32 dots_scalar
static void dots_scalar(const float *x, const float *w, uint32_t n, uint32_t rows, float *y);
#include "../reference/mmoe_dots_f32.c"
#undef mmoe_dots_f32

/* Four lanes of the written order are those of a vector: q4..q7 of four rows, s16..s31 when they are added up. */
#define TERM(w, lanes)                   \
    "vldrw.32 q1, [" w "], #16\n"        \
    "vmul.f32 q1, q1, q0\n"              \
    "vadd.f32 " lanes ", " lanes ", q1\n"
#define TERMS "vldrw.32 q0, [r0], #16\n" TERM("r4", "q4") TERM("r5", "q5") TERM("r6", "q6") TERM("r7", "q7")
#define ADD_UP(a, b, c, d)               \
    "vadd.f32 " a ", " a ", " b "\n"     \
    "vadd.f32 " c ", " c ", " d "\n"     \
    "vadd.f32 " a ", " a ", " c "\n"

/* `fours` times four rows */
static MMOE_NAKED void dots_of_4(MMOE_UNUSED const float *x, MMOE_UNUSED const float *w, MMOE_UNUSED uint32_t n,
                                 MMOE_UNUSED uint32_t fours, MMOE_UNUSED float *y) {
    __asm__("push {r4-r11, lr}\n"
            "vpush {d8-d15}\n"
            "ldr r8, [sp, #100]\n"
            "lsls r9, r2, #2\n" /* bytes of a row */
            "lsr r10, r2, #3\n"
            "and r11, r2, #7\n"
            "mov r4, r1\n"
            "0:\n"
            "vmov.i32 q4, #0\n"
            "add r5, r4, r9\n"
            "vmov.i32 q5, #0\n"
            "add r6, r5, r9\n"
            "vmov.i32 q6, #0\n"
            "adds r7, r6, r9\n"
            "vmov.i32 q7, #0\n"
            "wls lr, r10, 2f\n"
            "1:\n" TERMS TERMS
            "le lr, 1b\n"
            "2:\n"
            "wlstp.32 lr, r11, 4f\n"
            "3:\n" TERMS
            "letp lr, 3b\n"
            "4:\n" ADD_UP("s16", "s17", "s18", "s19") ADD_UP("s20", "s21", "s22", "s23") ADD_UP("s24", "s25", "s26", "s27")
            ADD_UP("s28", "s29", "s30", "s31")
            "vstr s16, [r8]\n"
            "vstr s20, [r8, #4]\n"
            "vstr s24, [r8, #8]\n"
            "vstr s28, [r8, #12]\n"
            "adds r8, r8, #16\n"
            /* a last vector in part moved the pointers on by a whole one */
            "add r4, r1, r9, lsl #2\n"
            "mov r1, r4\n"
            "sub r0, r0, r10, lsl #5\n"
            "add r12, r11, #3\n"
            "lsr r12, r12, #2\n"
            "sub r0, r0, r12, lsl #4\n"
            "subs r3, r3, #1\n"
            "bne 0b\n"
            "vpop {d8-d15}\n"
            "pop {r4-r11, pc}\n");
}

static inline float dot(const float *x, const float *w, uint32_t n) {
    float lanes[4], *to = lanes;
    __asm__ volatile("vmov.i32 q2, #0\n"
                     "wlstp.32 lr, %[n], 2f\n"
                     "1:\n"
                     "vldrw.32 q0, [%[x]], #16\n"
                     "vldrw.32 q1, [%[w]], #16\n"
                     "vmul.f32 q0, q0, q1\n"
                     "vadd.f32 q2, q2, q0\n"
                     "letp lr, 1b\n"
                     "2:\n"
                     "vstrw.32 q2, [%[to]]\n"
                     : [x] "+l"(x), [w] "+l"(w), [to] "+l"(to)
                     : [n] "r"(n)
                     : "q0", "q1", "q2", "lr", "cc", "memory");
    return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
}

/* Only where MVE rounded a subnormal operand or result to zero the sums are made again without it. */
void mmoe_dots_f32(const float *x, const float *w, uint32_t n, uint32_t rows, float *y) {
    const uint32_t fours = rows / 4;
    mmoe_forget_flushes();
    if (fours) dots_of_4(x, w, n, fours, y);
    for (uint32_t row = 4 * fours; row < rows; row++) y[row] = dot(x, w + row * n, n);
    if (mmoe_flushed()) dots_scalar(x, w, n, rows, y);
}

#else
#include "../reference/mmoe_dots_f32.c"
#endif
