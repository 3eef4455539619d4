/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_dsp.h"

/* r0 weights, r1 input, r2..r5 input words, r6 weight word, r7 two of its nibbles at the top of their halfwords (signed, 4096
 * times too large), r8..r11 sums of a group, r12 group scales, lr the nibbles' mask */
#define ROW(offset, first, s)           \
    "ldr r6, [r0, #" offset "]\n"       \
    "and r7, lr, r6, lsl #12\n" first   \
    "and r7, lr, r6, lsl #4\n"          \
    "smlad " s ", r7, r3, " s "\n"      \
    "and r7, lr, r6, lsl #8\n"          \
    "smlad " s ", r7, r4, " s "\n"      \
    "and r6, r6, lr\n"                  \
    "smlad " s ", r6, r5, " s "\n"
#define FIRST(offset, s) ROW(offset, "smuad " s ", r7, r2\n", s)
#define NEXT(offset, s) ROW(offset, "smlad " s ", r7, r2, " s "\n", s)
#define COLUMNS_8(step, o0, o1, o2, o3) \
    "ldmia r1!, {r2-r5}\n" step(o0, "r8") step(o1, "r9") step(o2, "r10") step(o3, "r11")

/* On the stack: the tile's four sums, then 16: groups, 20: end of the tile's group scales, 24: sums, 28: tiles. A group scale
 * at bit 20 times a sum at bit 12 is their product in the high word: SMMLA adds it exactly. */
MMOE_NAKED void mmoe_sums_s4g32(MMOE_UNUSED const mmoe_sums *sums) {
    __asm__("push {r4-r11, lr}\n"
            "ldrd r4, r5, [r0, #20]\n"
            "ldrd r1, r2, [r0, #8]\n"
            "ldrd r0, r12, [r0]\n"
            "add r3, r12, r2, lsl #2\n"
            "push {r2-r5}\n"
            "sub sp, sp, #16\n"
            "mov lr, #0xF000F000\n"
            "0:\n"
            "movs r4, #0\n"
            "movs r5, #0\n"
            "strd r4, r5, [sp]\n"
            "strd r4, r5, [sp, #8]\n"
            "1:\n"
            COLUMNS_8(FIRST, "0", "16", "32", "48")
            COLUMNS_8(NEXT, "4", "20", "36", "52")
            COLUMNS_8(NEXT, "8", "24", "40", "56")
            COLUMNS_8(NEXT, "12", "28", "44", "60")
            "ldr r6, [r12], #4\n"
            "ldmia sp, {r2-r5}\n"
            "mov lr, #0x0FF00000\n"
            "and r7, lr, r6, lsl #20\n"
            "smmla r2, r7, r8, r2\n"
            "and r7, lr, r6, lsl #12\n"
            "smmla r3, r7, r9, r3\n"
            "and r7, lr, r6, lsl #4\n"
            "smmla r4, r7, r10, r4\n"
            "and r7, lr, r6, lsr #4\n"
            "smmla r5, r7, r11, r5\n"
            "ldr r6, [sp, #20]\n"
            "stmia sp, {r2-r5}\n"
            "mov lr, #0xF000F000\n"
            "adds r0, r0, #64\n"
            "cmp r12, r6\n"
            "bne 1b\n"
            "ldrd r6, r7, [sp, #24]\n"
            "stmia r6!, {r2-r5}\n"
            "ldr r8, [sp, #16]\n"
            "sub r1, r1, r8, lsl #6\n"
            "add r9, r12, r8, lsl #2\n"
            "str r9, [sp, #20]\n"
            "subs r7, r7, #1\n"
            "strd r6, r7, [sp, #24]\n"
            "bne 0b\n"
            "add sp, sp, #32\n"
            "pop {r4-r11, pc}\n");
}
