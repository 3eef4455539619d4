/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_mve.h"

#define ROW(s)                  \
    "vldrb.8 q1, [r1], #16\n"   \
    "vmladava.s8 " s ", q0, q1\n"
#define BLOCK "vldrb.8 q0, [r3], #16\n" ROW("r0") ROW("r2") ROW("r4") ROW("r6")

MMOE_NAKED void mmoe_sums_s8(MMOE_UNUSED const mmoe_sums *sums) {
    __asm__("push {r4-r11, lr}\n"
            "ldrd r9, r11, [r0, #12]\n" /* blocks, skip */
            "ldrd r5, r8, [r0, #20]\n"  /* sums, tiles */
            "ldr r10, [r0, #8]\n"
            "ldr r1, [r0]\n"
            "0:\n"
            "mov r3, r10\n"
            "movs r0, #0\n"
            "movs r2, #0\n"
            "movs r4, #0\n"
            "movs r6, #0\n"
            "dls lr, r9\n"
            "1:\n" BLOCK "le lr, 1b\n"
            "strd r0, r2, [r5], #8\n"
            "strd r4, r6, [r5], #8\n"
            "add r1, r1, r11\n"
            "subs r8, r8, #1\n"
            "bne 0b\n"
            "pop {r4-r11, pc}\n");
}
