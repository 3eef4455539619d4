/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_dsp.h"

#if defined(__ARM_FP) && (__ARM_FP & 4)

/* Eight products of a row, added to its four lanes; s0..s7: x */
#define ROW(w, l0, l1, l2, l3)       \
    "vldmia " w "!, {s8-s15}\n"      \
    "vmul.f32 s8, s0, s8\n"          \
    "vmul.f32 s9, s1, s9\n"          \
    "vmul.f32 s10, s2, s10\n"        \
    "vmul.f32 s11, s3, s11\n"        \
    "vadd.f32 " l0 ", " l0 ", s8\n"  \
    "vmul.f32 s12, s4, s12\n"        \
    "vadd.f32 " l1 ", " l1 ", s9\n"  \
    "vmul.f32 s13, s5, s13\n"        \
    "vadd.f32 " l2 ", " l2 ", s10\n" \
    "vmul.f32 s14, s6, s14\n"        \
    "vadd.f32 " l3 ", " l3 ", s11\n" \
    "vmul.f32 s15, s7, s15\n"        \
    "vadd.f32 " l0 ", " l0 ", s12\n" \
    "vadd.f32 " l1 ", " l1 ", s13\n" \
    "vadd.f32 " l2 ", " l2 ", s14\n" \
    "vadd.f32 " l3 ", " l3 ", s15\n"
#define ROW_0 ROW("r1", "s16", "s17", "s18", "s19")
#define ROW_1 ROW("r4", "s20", "s21", "s22", "s23")
#define ROW_2 ROW("r5", "s24", "s25", "s26", "s27")
#define ROW_3 ROW("r6", "s28", "s29", "s30", "s31")

#define ZERO(a, b) "vmov " a ", " b ", r12, r12\n"

/* The lanes of one row or four, over columns in eights, at least one: x (8 eights), w rows of `bytes` */
static MMOE_NAKED void lanes_of_1(MMOE_UNUSED const float *x, MMOE_UNUSED const float *w, MMOE_UNUSED uint32_t eights,
                                  MMOE_UNUSED float *lanes) {
    __asm__("vpush {s16-s19}\n"
            "mov r12, #0\n" ZERO("s16", "s17") ZERO("s18", "s19")
            "1:\n"
            "vldmia r0!, {s0-s7}\n" ROW_0
            "subs r2, r2, #1\n"
            "bne 1b\n"
            "vstmia r3, {s16-s19}\n"
            "vpop {s16-s19}\n"
            "bx lr\n");
}
static MMOE_NAKED void lanes_of_4(MMOE_UNUSED const float *x, MMOE_UNUSED const float *w, MMOE_UNUSED uint32_t eights,
                                  MMOE_UNUSED float *lanes, MMOE_UNUSED uint32_t bytes) {
    __asm__("push {r4-r6}\n"
            "vpush {s16-s31}\n"
            "ldr r6, [sp, #76]\n"
            "add r4, r1, r6\n"
            "add r5, r4, r6\n"
            "add r6, r5, r6\n"
            "mov r12, #0\n" ZERO("s16", "s17") ZERO("s18", "s19") ZERO("s20", "s21") ZERO("s22", "s23")
            ZERO("s24", "s25") ZERO("s26", "s27") ZERO("s28", "s29") ZERO("s30", "s31")
            "1:\n"
            "vldmia r0!, {s0-s7}\n" ROW_0 ROW_1 ROW_2 ROW_3
            "subs r2, r2, #1\n"
            "bne 1b\n"
            "vstmia r3, {s16-s31}\n"
            "vpop {s16-s31}\n"
            "pop {r4-r6}\n"
            "bx lr\n");
}

void mmoe_dots_f32(const float *x, const float *w, uint32_t n, uint32_t rows, float *y) {
    const uint32_t whole = n & ~7u;
    for (uint32_t count; rows; rows -= count, w += count * n) {
        float lanes[16];
        count = rows < 4 ? 1 : 4;
        if (whole == 0)
            memset(lanes, 0, sizeof lanes);
        else if (count == 4)
            lanes_of_4(x, w, whole / 8, lanes, 4 * n);
        else
            lanes_of_1(x, w, whole / 8, lanes);
        for (uint32_t row = 0; row < count; row++, y++) {
            float *l = lanes + 4 * row;
            for (uint32_t i = whole; i < n; i++) l[i % 4] = mmoe_scalar(l[i % 4] + x[i] * w[row * n + i]);
            *y = (l[0] + l[1]) + (l[2] + l[3]);
        }
    }
}

#else
#include "../reference/mmoe_dots_f32.c"
#endif
