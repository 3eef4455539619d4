/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_mve.h"

#if __ARM_FEATURE_MVE & 2

#define LOAD(x, y, at)                     \
    "vldrw.32 " x ", [r0, #" at "]\n"      \
    "vldrw.32 " y ", [r3, #" at "]\n"      \
    "vmul.f32 " x ", " x ", r1\n"          \
    "vadd.f32 " x ", " x ", " y "\n"

/* Sixteen elements at a time; returns how many times it did not, from where MVE rounded something to zero. */
static MMOE_NAKED uint32_t accumulate_sixteens(MMOE_UNUSED const float *x, MMOE_UNUSED uint32_t gate, MMOE_UNUSED uint32_t sixteens,
                                               MMOE_UNUSED float *y) {
    __asm__("vmrs r12, fpscr\n"
            "bic r12, r12, #0x88\n"
            "vmsr fpscr, r12\n"
            "vpush {d8-d9}\n"
            "1:\n" LOAD("q0", "q4", "0") LOAD("q1", "q4", "16") LOAD("q2", "q4", "32") LOAD("q3", "q4", "48")
            "vmrs r12, fpscr\n"
            "tst r12, #0x88\n"
            "bne 2f\n"
            "vstrw.32 q0, [r3], #16\n"
            "vstrw.32 q1, [r3], #16\n"
            "vstrw.32 q2, [r3], #16\n"
            "vstrw.32 q3, [r3], #16\n"
            "adds r0, r0, #64\n"
            "subs r2, r2, #1\n"
            "bne 1b\n"
            "2:\n"
            "vpop {d8-d9}\n"
            "mov r0, r2\n"
            "bx lr\n");
}

void mmoe_accumulate_f32(const float *x, float gate, uint32_t n, float *y) {
    uint32_t done = 0, sixteens = n / 16;
    while (done < sixteens) {
        done = sixteens - accumulate_sixteens(x + 16 * done, mmoe_bits(gate), sixteens - done, y + 16 * done);
        if (done == sixteens) break;
        for (uint32_t i = 16 * done; i < 16 * done + 16; i++) y[i] = mmoe_scalar(y[i] + gate * x[i]);
        done++;
    }
    for (uint32_t i = 16 * sixteens; i < n; i++) y[i] = mmoe_scalar(y[i] + gate * x[i]);
}

#else
#include "../reference/mmoe_accumulate_f32.c"
#endif
