/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_dsp.h"

/* r0 weights, r1 input, r2..r5 input words, r6 and r7 weight words, r12 an expansion, r8..r11 sums, lr end of the input */
#define ROW(offset, s)                    \
    "ldrd r6, r7, [r0, #" offset "]\n"    \
    "sxtb16 r12, r6\n"                    \
    "smlad " s ", r12, r2, " s "\n"       \
    "sxtb16 r6, r6, ror #8\n"             \
    "smlad " s ", r6, r3, " s "\n"        \
    "sxtb16 r12, r7\n"                    \
    "smlad " s ", r12, r4, " s "\n"       \
    "sxtb16 r7, r7, ror #8\n"             \
    "smlad " s ", r7, r5, " s "\n"
#define COLUMNS_8(o0, o1, o2, o3) \
    "ldmia r1!, {r2-r5}\n" ROW(o0, "r8") ROW(o1, "r9") ROW(o2, "r10") ROW(o3, "r11")

MMOE_NAKED void mmoe_sums_s8(MMOE_UNUSED const mmoe_sums *sums) {
    __asm__("push {r4-r11, lr}\n"
            "ldrd r4, r5, [r0, #20]\n"
            "ldrd r1, r2, [r0, #8]\n"
            "ldr r3, [r0, #16]\n"
            "ldr r0, [r0]\n"
            "lsls r2, r2, #5\n"
            "add lr, r1, r2\n"
            "push {r2-r5}\n" /* bytes of the input, skip, sums, tiles */
            "0:\n"
            "mov r8, #0\n"
            "mov r9, #0\n"
            "mov r10, #0\n"
            "mov r11, #0\n"
            "1:\n"
            COLUMNS_8("0", "16", "32", "48")
            COLUMNS_8("8", "24", "40", "56")
            "adds r0, r0, #64\n"
            "cmp r1, lr\n"
            "bne 1b\n"
            "ldmia sp, {r2-r5}\n"
            "subs r1, r1, r2\n"
            "stmia r4!, {r8-r11}\n"
            "add r0, r0, r3\n"
            "subs r5, r5, #1\n"
            "strd r4, r5, [sp, #8]\n"
            "bne 0b\n"
            "add sp, sp, #16\n"
            "pop {r4-r11, pc}\n");
}
