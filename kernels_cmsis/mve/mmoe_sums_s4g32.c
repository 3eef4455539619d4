/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_s4g32.h"

/* r10: groups still to come; in chunks of MMOE_S4_GROUPS */
MMOE_NAKED void mmoe_sums_s4g32(MMOE_UNUSED const mmoe_sums *sums) {
    __asm__("push {r4-r11, lr}\n"
            "vpush {d8-d13}\n"
            "ldrd r8, r12, [r0, #20]\n" /* sums, tiles */
            "ldrd r1, r11, [r0, #8]\n"  /* input, groups */
            "ldrd r3, r5, [r0]\n"
            "vmov.i8 q4, #0xF0\n"
            "0:\n"
            "vmov.i32 q6, #0\n"
            "mov r10, r11\n"
            "1:\n"
            "vmov.i32 q5, #0\n"
            "mov lr, r10\n"
            "cmp r10, #16\n"
            "it hi\n"
            "movhi lr, #16\n"
            "sub r10, r10, lr\n"
            "2:\n" MMOE_S4_INPUTS MMOE_S4_TILE("r3", "r5", "q5")
            "le lr, 2b\n"
            "vshr.s32 q5, q5, #4\n"
            "vadd.i32 q6, q6, q5\n"
            "cmp r10, #0\n"
            "bne 1b\n"
            "vstrw.32 q6, [r8], #16\n"
            "sub r1, r1, r11, lsl #5\n"
            "subs r12, r12, #1\n"
            "bne 0b\n"
            "vpop {d8-d13}\n"
            "pop {r4-r11, pc}\n");
}
