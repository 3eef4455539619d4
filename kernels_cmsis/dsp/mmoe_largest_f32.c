/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_dsp.h"

/* Magnitudes order as their bits do, shifted past the sign; infinity and NaN come last. A new largest one is rare: its branch
 * goes out of line. */
#define SEE(x, out, back)            \
    "cmp r2, " x ", lsl #1\n"        \
    "blo " out "f\n" back ":\n"
#define FOUND(x, out, back)          \
    out ":\n"                        \
    "lsl r2, " x ", #1\n"            \
    "b " back "b\n"

static MMOE_NAKED uint32_t largest_bits(MMOE_UNUSED const float *x, MMOE_UNUSED uint32_t n) {
    __asm__("push {r4-r10, lr}\n"
            "movs r2, #0\n"
            "lsrs r12, r1, #3\n"
            "beq 2f\n"
            "1:\n"
            "ldmia r0!, {r3-r10}\n"
            SEE("r3", "30", "40") SEE("r4", "31", "41") SEE("r5", "32", "42") SEE("r6", "33", "43")
            SEE("r7", "34", "44") SEE("r8", "35", "45") SEE("r9", "36", "46") SEE("r10", "37", "47")
            "subs r12, r12, #1\n"
            "bne 1b\n"
            "2:\n"
            "ands r1, r1, #7\n"
            "beq 4f\n"
            "3:\n"
            "ldr r3, [r0], #4\n"
            "cmp r2, r3, lsl #1\n"
            "it lo\n"
            "lsllo r2, r3, #1\n"
            "subs r1, r1, #1\n"
            "bne 3b\n"
            "4:\n"
            "lsrs r0, r2, #1\n"
            "pop {r4-r10, pc}\n"
            FOUND("r3", "30", "40") FOUND("r4", "31", "41") FOUND("r5", "32", "42") FOUND("r6", "33", "43")
            FOUND("r7", "34", "44") FOUND("r8", "35", "45") FOUND("r9", "36", "46") FOUND("r10", "37", "47"));
}

float mmoe_largest_f32(const float *x, uint32_t n) { return mmoe_float(largest_bits(x, n)); }
