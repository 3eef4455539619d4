/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_mve.h"

/* One group of 32 columns of one row: the inputs of the two nibble planes are in q0 and q1. Shifted to the top of their
 * bytes, nibbles are signed and 16 times too large. */
#define ROW(w, s)                \
    "vldrb.8 q2, [" w "], #16\n" \
    "vshl.i8 q3, q2, #4\n"       \
    "vmladav.s8 " s ", q0, q3\n" \
    "vand q2, q2, q4\n"          \
    "vmladava.s8 " s ", q1, q2\n"
/* The same of four rows: adds group scales times sums to a vector. */
#define TILE(w, m, sum)                                           \
    ROW(w, "r0") ROW(w, "r2") ROW(w, "r4") ROW(w, "r6")           \
    "vldrb.u32 q3, [" m "], #4\n"                                 \
    "vmov q2[2], q2[0], r0, r4\n"                                 \
    "vmov q2[3], q2[1], r2, r6\n"                                 \
    "vmul.i32 q2, q2, q3\n"                                       \
    "vadd.i32 " sum ", " sum ", q2\n"
#define INPUTS                 \
    "vld20.32 {q0, q1}, [r1]\n" \
    "vld21.32 {q0, q1}, [r1]!\n"

/* This many groups keep 16 times the sum within int32: 16 * 255 * 16 * 32 * 8 * 127 < 2^31. */
#define MAX_GROUPS 16u

typedef struct {
    const uint8_t *weights, *group_scales; /* of the first row */
    const int8_t *input;
    uint32_t groups; /* at most MAX_GROUPS in matvec_pairs */
    float *y;
    const float *row_scales;
    uint32_t pairs; /* of tiles, eight rows, at least 1 */
    float scale;
} mmoe_tiles;

#if __ARM_FEATURE_MVE & 2
static MMOE_NAKED void matvec_pairs(MMOE_UNUSED const mmoe_tiles *tiles) {
    __asm__("push {r4-r11, lr}\n"
            "vpush {d8-d15}\n"
            "ldr r2, [r0, #28]\n"
            "ldrd r8, r10, [r0, #16]\n" /* y, row scales */
            "ldr r12, [r0, #24]\n"
            "ldrd r1, r11, [r0, #8]\n"  /* input, groups */
            "ldrd r3, r5, [r0]\n"       /* weights, group scales */
            "vdup.32 q7, r2\n"
            "vmov.i8 q4, #0xF0\n"
            "add r9, r3, r11, lsl #6\n" /* the same of the second tile */
            "add r7, r5, r11, lsl #2\n"
            "0:\n"
            "vmov.i32 q5, #0\n"
            "vmov.i32 q6, #0\n"
            "dls lr, r11\n"
            "1:\n" INPUTS TILE("r3", "r5", "q5") TILE("r9", "r7", "q6")
            "le lr, 1b\n"
            "vshr.s32 q5, q5, #4\n"
            "vldrw.32 q0, [r10], #16\n"
            "vcvt.f32.s32 q5, q5\n"
            "vldrw.32 q1, [r10], #16\n"
            "vshr.s32 q6, q6, #4\n"
            "vmul.f32 q0, q0, q7\n"
            "vcvt.f32.s32 q6, q6\n"
            "vmul.f32 q1, q1, q7\n"
            "sub r1, r1, r11, lsl #5\n"
            "vmul.f32 q5, q5, q0\n"
            "mov r3, r9\n"
            "vmul.f32 q6, q6, q1\n"
            "mov r5, r7\n"
            "vstrw.32 q5, [r8], #16\n"
            "add r9, r9, r11, lsl #6\n"
            "vstrw.32 q6, [r8], #16\n"
            "add r7, r7, r11, lsl #2\n"
            "subs r12, r12, #1\n"
            "bne 0b\n"
            "vpop {d8-d15}\n"
            "pop {r4-r11, pc}\n");
}
#endif

/* Adds the sums of one tile over tile->groups groups (at most MAX_GROUPS). */
static MMOE_NAKED void add_tile(MMOE_UNUSED const mmoe_tiles *tile, MMOE_UNUSED int32_t sums[4]) {
    __asm__("push {r4-r11, lr}\n"
            "vpush {d8-d11}\n"
            "mov r8, r1\n"
            "ldrd r1, lr, [r0, #8]\n"
            "ldrd r3, r5, [r0]\n"
            "vmov.i8 q4, #0xF0\n"
            "vmov.i32 q5, #0\n"
            "1:\n" INPUTS TILE("r3", "r5", "q5")
            "le lr, 1b\n"
            "vldrw.32 q0, [r8]\n"
            "vshr.s32 q5, q5, #4\n"
            "vadd.i32 q0, q0, q5\n"
            "vstrw.32 q0, [r8]\n"
            "vpop {d8-d11}\n"
            "pop {r4-r11, pc}\n");
}

void mmoe_matvec_s4g32(const mmoe_matrix *w, const mmoe_vector *x, float *y) {
    const uint32_t groups = MMOE_GROUPS((uint32_t)w->columns);
    mmoe_tiles tiles = {w->weights, w->group_scales, mmoe_vector_const_s8(x), groups, y, w->row_scales, 0, x->scale};
    uint32_t row = 0;
#if __ARM_FEATURE_MVE & 2
    if (mmoe_scale_is_safe(x->scale) && groups <= MAX_GROUPS && w->rows >= 8) {
        tiles.pairs = w->rows / 8;
        matvec_pairs(&tiles);
        row = w->rows & ~7u;
    }
#endif
    for (; row < w->rows; row += 4) {
        int32_t sums[4] = {0, 0, 0, 0};
        tiles.weights = (const uint8_t *)w->weights + row * 16 * groups;
        tiles.group_scales = w->group_scales + row * groups;
        tiles.input = mmoe_vector_const_s8(x);
        for (uint32_t rest = groups; rest; rest -= tiles.groups) {
            tiles.groups = rest < MAX_GROUPS ? rest : MAX_GROUPS;
            add_tile(&tiles, sums);
            tiles.weights += 64 * tiles.groups;
            tiles.group_scales += 4 * tiles.groups;
            tiles.input += MMOE_GROUP * tiles.groups;
        }
        mmoe_scale_rows(sums, x->scale, w->row_scales + row, y + row, w->rows - row);
    }
}
