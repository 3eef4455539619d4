/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MMOE_S4G32_H
#define MMOE_S4G32_H

#include "mmoe_mve.h"

/* One group of 32 columns of one row: the inputs of the two nibble planes are in q0 and q1. Shifted to the top of their
 * bytes, nibbles are signed and 16 times too large. */
#define MMOE_S4_ROW(w, s)        \
    "vldrb.8 q2, [" w "], #16\n" \
    "vshl.i8 q3, q2, #4\n"       \
    "vmladav.s8 " s ", q0, q3\n" \
    "vand q2, q2, q4\n"          \
    "vmladava.s8 " s ", q1, q2\n"
/* The same of four rows: adds group scales times sums to a vector. q4 is 0xF0 in every byte. */
#define MMOE_S4_TILE(w, m, sum)                                                                     \
    MMOE_S4_ROW(w, "r0") MMOE_S4_ROW(w, "r2") MMOE_S4_ROW(w, "r4") MMOE_S4_ROW(w, "r6")             \
    "vldrb.u32 q3, [" m "], #4\n"                                                                   \
    "vmov q2[2], q2[0], r0, r4\n"                                                                   \
    "vmov q2[3], q2[1], r2, r6\n"                                                                   \
    "vmul.i32 q2, q2, q3\n"                                                                         \
    "vadd.i32 " sum ", " sum ", q2\n"
/* Every second four columns go to q1: they are the high nibbles. */
#define MMOE_S4_INPUTS          \
    "vld20.32 {q0, q1}, [r1]\n" \
    "vld21.32 {q0, q1}, [r1]!\n"

/* This many groups keep 16 times the sum within int32: 16 * 255 * 16 * 32 * 8 * 127 < 2^31. */
#define MMOE_S4_GROUPS 16

/* Whether sums that stay 16 times too large, times a sixteenth of the scale, are the written bits: no power of two rounds, where
 * the sixteenth is safe, too. */
static inline int mmoe_s4_scale_is_safe(float scale) {
    return mmoe_scale_is_safe(scale) && mmoe_scale_is_safe(scale * 0.0625f);
}

#endif
