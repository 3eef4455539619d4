/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_dsp.h"

#if defined(__ARM_FP) && (__ARM_FP & 4)
#include "../reference/mmoe_gate.h"

/* s0..s3 x, s4..s7 what is left of it, s8..s11 x rounded to sixteenths; r4..r7 lines of the table. lr: bits of 1.5 * 2^19 */
#define LINE(r)                      \
    "qsub " r ", " r ", lr\n"        \
    "ssat " r ", #9, " r "\n"        \
    "add " r ", r3, " r ", lsl #3\n"
#define GATE(left, line)             \
    "vldr d6, [" line "]\n"          \
    "vmul.f32 " left ", " left ", s13\n" \
    "vadd.f32 " left ", s12, " left "\n"
/* Magnitudes order as their bits do, shifted past the sign. */
#define SEE(r)                       \
    "cmp r12, " r ", lsl #1\n"       \
    "it lo\n"                        \
    "lsllo r12, " r ", #1\n"

/* gate = silu(gate) * up; `middle`: line 0 of the table. Returns the bits of the largest magnitude. QSUB and SSAT
 * saturate, to -256..255: the line. */
static MMOE_NAKED uint32_t apply_gates(MMOE_UNUSED float *gate, MMOE_UNUSED const float *up, MMOE_UNUSED uint32_t n,
                                       MMOE_UNUSED const void *middle) {
    __asm__("push {r4-r8, lr}\n"
            "movw lr, #0\n"
            "movt lr, #0x4940\n"
            "vmov s14, lr\n"
            "mov r12, #0\n"
            "lsrs r8, r2, #2\n"
            "beq 2f\n"
            "1:\n"
            "vldmia r0, {s0-s3}\n"
            "vadd.f32 s8, s0, s14\n"
            "vadd.f32 s9, s1, s14\n"
            "vadd.f32 s10, s2, s14\n"
            "vadd.f32 s11, s3, s14\n"
            "vmov r4, r5, s8, s9\n"
            "vmov r6, r7, s10, s11\n"
            "vsub.f32 s8, s8, s14\n"
            "vsub.f32 s9, s9, s14\n"
            "vsub.f32 s10, s10, s14\n"
            "vsub.f32 s11, s11, s14\n" LINE("r4") LINE("r5") LINE("r6") LINE("r7")
            "vsub.f32 s4, s0, s8\n"
            "vsub.f32 s5, s1, s9\n"
            "vsub.f32 s6, s2, s10\n"
            "vsub.f32 s7, s3, s11\n" GATE("s4", "r4") GATE("s5", "r5") GATE("s6", "r6") GATE("s7", "r7")
            "vldmia r1!, {s8-s11}\n"
            "vmul.f32 s0, s0, s4\n"
            "vmul.f32 s1, s1, s5\n"
            "vmul.f32 s2, s2, s6\n"
            "vmul.f32 s3, s3, s7\n"
            "vmul.f32 s0, s0, s8\n"
            "vmul.f32 s1, s1, s9\n"
            "vmul.f32 s2, s2, s10\n"
            "vmul.f32 s3, s3, s11\n"
            "vmov r4, r5, s0, s1\n"
            "vmov r6, r7, s2, s3\n"
            "vstmia r0!, {s0-s3}\n"
            "cmp r12, r4, lsl #1\n"
            "blo 40f\n"
            "50:\n"
            "cmp r12, r5, lsl #1\n"
            "blo 41f\n"
            "51:\n"
            "cmp r12, r6, lsl #1\n"
            "blo 42f\n"
            "52:\n"
            "cmp r12, r7, lsl #1\n"
            "blo 43f\n"
            "53:\n"
            "subs r8, r8, #1\n"
            "bne 1b\n"
            "2:\n"
            "ands r2, r2, #3\n"
            "beq 4f\n"
            "3:\n"
            "vldr s0, [r0]\n"
            "vadd.f32 s8, s0, s14\n"
            "vmov r4, s8\n"
            "vsub.f32 s8, s8, s14\n" LINE("r4")
            "vsub.f32 s4, s0, s8\n" GATE("s4", "r4")
            "vldmia r1!, {s8}\n"
            "vmul.f32 s0, s0, s4\n"
            "vmul.f32 s0, s0, s8\n"
            "vmov r4, s0\n"
            "vstmia r0!, {s0}\n" SEE("r4")
            "subs r2, r2, #1\n"
            "bne 3b\n"
            "4:\n"
            "lsr r0, r12, #1\n"
            "pop {r4-r8, pc}\n"
            "40:\n"
            "lsl r12, r4, #1\n"
            "b 50b\n"
            "41:\n"
            "lsl r12, r5, #1\n"
            "b 51b\n"
            "42:\n"
            "lsl r12, r6, #1\n"
            "b 52b\n"
            "43:\n"
            "lsl r12, r7, #1\n"
            "b 53b\n");
}

mmoe_status mmoe_swiglu_s8(float *gate_up, uint32_t n, float scale, mmoe_vector *q) {
    (void)scale;
    const uint32_t largest = apply_gates(gate_up, gate_up + n, n, &mmoe_gate_table[-MMOE_GATE_FIRST]);
    return mmoe_quantize_known_s8(gate_up, n, mmoe_float(largest), q);
}

#else
#include "../reference/mmoe_swiglu_s8.c"
#endif
