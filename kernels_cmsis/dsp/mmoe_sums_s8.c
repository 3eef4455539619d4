/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_dsp.h"

/* r0 weights, r1 input, r2..r5 input words, r6 weight word, r7 its expansion, r8..r11 sums, r12 end of the input, lr tiles */
#define ROW(offset, s, x0, x1)          \
    "ldr r6, [r0, #" offset "]\n"       \
    "sxtb16 r7, r6\n"                   \
    "sxtb16 r6, r6, ror #8\n"           \
    "smlad " s ", r7, " x0 ", " s "\n"  \
    "smlad " s ", r6, " x1 ", " s "\n"
#define COLUMNS_8(o0, o1, o2, o3, p0, p1, p2, p3)                                                         \
    "ldmia r1!, {r2-r5}\n" ROW(o0, "r8", "r2", "r3") ROW(o1, "r9", "r2", "r3") ROW(o2, "r10", "r2", "r3") \
    ROW(o3, "r11", "r2", "r3") ROW(p0, "r8", "r4", "r5") ROW(p1, "r9", "r4", "r5")                        \
    ROW(p2, "r10", "r4", "r5") ROW(p3, "r11", "r4", "r5")

MMOE_NAKED void mmoe_sums_s8(MMOE_UNUSED const mmoe_sums *sums) {
    __asm__("push {r4-r11, lr}\n"
            "ldrd r3, lr, [r0, #20]\n"
            "ldrd r1, r2, [r0, #8]\n"
            "ldr r4, [r0, #16]\n"
            "ldr r0, [r0]\n"
            "lsls r2, r2, #5\n"
            "add r12, r1, r2\n"
            "push {r2-r4}\n" /* bytes of the input, sums, skip */
            "0:\n"
            "movs r2, #0\n"
            "mov r8, r2\n"
            "mov r9, r2\n"
            "mov r10, r2\n"
            "mov r11, r2\n"
            "1:\n"
            COLUMNS_8("0", "16", "32", "48", "4", "20", "36", "52")
            COLUMNS_8("8", "24", "40", "56", "12", "28", "44", "60")
            "adds r0, r0, #64\n"
            "cmp r1, r12\n"
            "bne 1b\n"
            "ldmia sp, {r2-r4}\n"
            "subs r1, r1, r2\n"
            "stmia r3!, {r8-r11}\n"
            "add r0, r0, r4\n"
            "str r3, [sp, #4]\n"
            "subs lr, lr, #1\n"
            "bne 0b\n"
            "add sp, sp, #12\n"
            "pop {r4-r11, pc}\n");
}
