/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MMOE_EXP_H
#define MMOE_EXP_H

#include "mmoe_mve.h"

/* exp (SPEC.md 3.1) of q0 into q0; q1..q3 are lost; q6, q7 hold -87 and 87, r3..r12 the constants below.
 *
 * Flushing changes no bit of it: a subnormal x, like 0, gives 1; where a product inside the polynomial is subnormal, what it
 * is added to is large enough to absorb it; every difference is 0 or far above 2^-126; and 2^n y >= 2^-126 because n = -126
 * comes with y > 1. There the exponent is added as an integer. */
#define MMOE_EXP_Q0             \
    "vmaxnm.f32 q0, q0, q6\n"   \
    "vminnm.f32 q0, q0, q7\n"   \
    "vmul.f32 q1, q0, r4\n"     \
    "vadd.f32 q1, q1, r5\n"     \
    "vsub.f32 q2, q1, r5\n"     \
    "vshl.i32 q1, q1, #23\n"    \
    "vmul.f32 q3, q2, r6\n"     \
    "vsub.f32 q0, q0, q3\n"     \
    "vmul.f32 q3, q2, r7\n"     \
    "vsub.f32 q0, q0, q3\n"     \
    "vmul.f32 q2, q0, r8\n"     \
    "vadd.f32 q2, q2, r9\n"     \
    "vmul.f32 q2, q2, q0\n"     \
    "vadd.f32 q2, q2, r10\n"    \
    "vmul.f32 q2, q2, q0\n"     \
    "vadd.f32 q2, q2, r11\n"    \
    "vmul.f32 q2, q2, q0\n"     \
    "vmul.f32 q3, q0, q0\n"     \
    "vadd.f32 q2, q2, r12\n"    \
    "vmul.f32 q2, q2, q3\n"     \
    "vadd.f32 q2, q2, q0\n"     \
    "vadd.f32 q2, q2, r3\n"     \
    "vadd.i32 q0, q2, q1\n"

/* r3 1, r4 log2(e), r5 1.5 * 2^23, r6 and r7 the two parts of ln 2, r8..r12 c4..c0 */
#define MMOE_EXP_CONSTANTS           \
    "movw r3, #0x0000\n"             \
    "movt r3, #0x42AE\n"             \
    "vdup.32 q7, r3\n"               \
    "movt r3, #0xC2AE\n"             \
    "vdup.32 q6, r3\n"               \
    "movt r3, #0x3F80\n"             \
    "movw r4, #0xAA3B\n"             \
    "movt r4, #0x3FB8\n"             \
    "movw r5, #0x0000\n"             \
    "movt r5, #0x4B40\n"             \
    "movw r6, #0x8000\n"             \
    "movt r6, #0x3F31\n"             \
    "movw r7, #0x8083\n"             \
    "movt r7, #0xB95E\n"             \
    "movw r8, #0xA194\n"             \
    "movt r8, #0x3AB6\n"             \
    "movw r9, #0x05BA\n"             \
    "movt r9, #0x3C09\n"             \
    "movw r10, #0xAA75\n"            \
    "movt r10, #0x3D2A\n"            \
    "movw r11, #0xAA6E\n"            \
    "movt r11, #0x3E2A\n"            \
    "movw r12, #0x0000\n"            \
    "movt r12, #0x3F00\n"

#endif
