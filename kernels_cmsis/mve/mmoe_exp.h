/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MMOE_EXP_H
#define MMOE_EXP_H

#include "mmoe_mve.h"

/* exp (SPEC.md 3.1) of q0, which is clamped already, into q0; q1..q3 are lost; r3..r9 hold the constants below.
 *
 * Flushing changes no bit of it: a subnormal x, like 0, gives 1; where a product inside the polynomial is subnormal, what it
 * is added to is large enough to absorb it; f is 0 or far above 2^-126; and 2^n y >= 2^-126 because n = -126 comes with
 * y > 1. There the exponent is added as an integer. */
#define MMOE_EXP_Q0             \
    "vmul.f32 q1, q0, r4\n"     \
    "vadd.f32 q2, q1, r5\n"     \
    "vsub.f32 q3, q2, r5\n"     \
    "vshl.i32 q2, q2, #23\n"    \
    "vsub.f32 q1, q1, q3\n"     \
    "vmul.f32 q0, q1, r6\n"     \
    "vadd.f32 q0, q0, r7\n"     \
    "vmul.f32 q0, q0, q1\n"     \
    "vadd.f32 q0, q0, r8\n"     \
    "vmul.f32 q0, q0, q1\n"     \
    "vadd.f32 q0, q0, r9\n"     \
    "vmul.f32 q0, q0, q1\n"     \
    "vadd.f32 q0, q0, r3\n"     \
    "vadd.i32 q0, q0, q2\n"

/* q6 -87, q7 87; r3 1, r4 log2(e), r5 1.5 * 2^23, r6..r9 c4..c1 */
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
    "movw r6, #0x0166\n"             \
    "movt r6, #0x3C1D\n"             \
    "movw r7, #0xFE23\n"             \
    "movt r7, #0x3D64\n"             \
    "movw r8, #0x01BC\n"             \
    "movt r8, #0x3E76\n"             \
    "movw r9, #0x7096\n"             \
    "movt r9, #0x3F31\n"
#define MMOE_EXP_CLAMP               \
    "vmaxnm.f32 q0, q0, q6\n"        \
    "vminnm.f32 q0, q0, q7\n"

/* Four positions of a softmax: e = exp(z - r2), z = e * value_scale; q4 the sum of e, q5 the largest z. r0 z, r1 scales */
#define MMOE_WEIGH_FOUR                          \
    "vldrw.32 q0, [r0]\n"                        \
    "vsub.f32 q0, q0, r2\n"                      \
    "vmaxnm.f32 q0, q0, q6\n" MMOE_EXP_Q0        \
    "vldrw.32 q1, [r1], #16\n"                   \
    "vadd.f32 q4, q4, q0\n"                      \
    "vmul.f32 q0, q0, q1\n"                      \
    "vmaxnm.f32 q5, q5, q0\n"                    \
    "vstrw.32 q0, [r0], #16\n"

#endif
