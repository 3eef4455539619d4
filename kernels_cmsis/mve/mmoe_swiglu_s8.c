/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_round.h"

#if __ARM_FEATURE_MVE & 2

#define mmoe_swiglu_s8 swiglu_scalar
static mmoe_status swiglu_scalar(float *gate_up, uint32_t n, float scale, mmoe_vector *q);
#include "../reference/mmoe_swiglu_s8.c"
#undef mmoe_swiglu_s8

/* gate = silu(gate) * up; returns the bits of the largest magnitude. `lines` is where line 0 of the table would have to lie for
 * 8 times the bits of 1.5 * 2^19 + c / 16 to be the offset of line c. q6, q7: the bits of the first line and the last one. */
static MMOE_NAKED uint32_t apply_gates(MMOE_UNUSED float *gate, MMOE_UNUSED const float *up, MMOE_UNUSED uint32_t n,
                                       MMOE_UNUSED uintptr_t lines) {
    __asm__("push {r4, r6, r7, lr}\n"
            "vpush {d8-d15}\n"
            "movw r6, #0xFF00\n"
            "movt r6, #0x493F\n"
            "vdup.32 q6, r6\n"
            "movw r6, #0x00FF\n"
            "movt r6, #0x4940\n"
            "vdup.32 q7, r6\n"
            "movw r6, #0\n"
            "movt r6, #0x4940\n"
            "adds r4, r3, #4\n"
            "vmov.i32 q4, #0\n"
            "dlstp.32 lr, r2\n"
            "1:\n"
            "vldrw.32 q0, [r0]\n"
            "vadd.f32 q2, q0, r6\n"
            "vsub.f32 q3, q2, r6\n"
            "vmax.s32 q2, q2, q6\n"
            "vsub.f32 q1, q0, q3\n"
            "vmin.s32 q2, q2, q7\n"
            "vshl.i32 q2, q2, #1\n"
            "vldrw.u32 q3, [r4, q2, uxtw #2]\n"
            "vmul.f32 q1, q1, q3\n"
            "vldrw.u32 q3, [r3, q2, uxtw #2]\n"
            "vadd.f32 q1, q1, q3\n"
            "vldrw.32 q3, [r1], #16\n"
            "vmul.f32 q0, q0, q1\n"
            "vmul.f32 q0, q0, q3\n"
            "vmaxnma.f32 q4, q0\n"
            "vstrw.32 q0, [r0], #16\n"
            "letp lr, 1b\n"
            "movs r0, #0\n"
            "vmaxnmav.f32 r0, q4\n"
            "vpop {d8-d15}\n"
            "pop {r4, r6, r7, pc}\n");
}

/* A gate or up is 0 or at least 2^-64 times the scale: with 2^-40 here nothing is flushed but products that are far too small
 * to count, since 2^-64 is the least that does. */
mmoe_status mmoe_swiglu_s8(float *gate_up, uint32_t n, float scale, mmoe_vector *q) {
    if (!(scale >= 0x1.0p-40f || scale == 0.0f)) return swiglu_scalar(gate_up, n, scale, q);
    const uintptr_t lines = (uintptr_t)&mmoe_gate_table[-MMOE_GATE_FIRST] - 8u * 0x49400000u;
    return mmoe_round_s8(gate_up, n, apply_gates(gate_up, gate_up + n, n, lines), q);
}

#else
#include "../reference/mmoe_swiglu_s8.c"
#endif
