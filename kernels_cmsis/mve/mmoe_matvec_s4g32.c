/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_s4g32.h"

#if __ARM_FEATURE_MVE & 2
typedef struct {
    const uint8_t *weights, *group_scales; /* of the first row */
    const int8_t *input;
    uint32_t groups; /* at most MMOE_S4_GROUPS */
    float *y;
    const float *row_scales;
    uint32_t pairs; /* of tiles, eight rows, at least 1 */
    float scale;
} mmoe_tiles;

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
            "1:\n" MMOE_S4_INPUTS MMOE_S4_TILE("r3", "r5", "q5") MMOE_S4_TILE("r9", "r7", "q6")
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

void mmoe_matvec_s4g32(const mmoe_matrix *w, const mmoe_vector *x, float *y) {
    const uint32_t groups = MMOE_GROUPS((uint32_t)w->columns);
    uint32_t row = 0;
#if __ARM_FEATURE_MVE & 2
    if (mmoe_scale_is_safe(x->scale) && groups <= MMOE_S4_GROUPS && w->rows >= 8) {
        matvec_pairs(&(mmoe_tiles){w->weights, w->group_scales, mmoe_vector_const_s8(x), groups, y, w->row_scales,
                                   w->rows / 8, x->scale});
        row = w->rows & ~7u;
    }
#endif
    for (; row < w->rows; row += 4) {
        const uint32_t count = w->rows - row < 4 ? w->rows - row : 4;
        mmoe_word sums[4];
        mmoe_sums_s4g32(&(mmoe_sums){(const uint8_t *)w->weights + row * 16 * groups, w->group_scales + row * groups,
                                     x + 1, groups, 0, sums, 1});
        mmoe_scale_sums(sums, count, x->scale, w->row_scales + row);
        memcpy(y + row, sums, count * sizeof *y);
    }
}
