/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_matmul.h"

#define mmoe_matmul_s4g32 matmul_plain
static void matmul_plain(const mmoe_matrix *w, const mmoe_vector *const *x, float *const *y, uint32_t count, void *scratch);
#include "../reference/mmoe_matmul_s4g32.c"
#undef mmoe_matmul_s4g32

/* The planes of two rows of a group, 16 times too large: nibbles at the top of their bytes are signed. Low and high halves of
 * the low nibbles, then of the high ones */
static inline int8x16x4_t split_rows(uint8x16_t first, uint8x16_t second) {
    const uint8x16_t a = vreinterpretq_u8_s8(mmoe_low_halves(vreinterpretq_s8_u8(first), vreinterpretq_s8_u8(second)));
    const uint8x16_t b = vreinterpretq_u8_s8(mmoe_high_halves(vreinterpretq_s8_u8(first), vreinterpretq_s8_u8(second)));
    const uint8x16_t mask = vdupq_n_u8(0xF0);
    return (int8x16x4_t){{vreinterpretq_s8_u8(vshlq_n_u8(a, 4)), vreinterpretq_s8_u8(vshlq_n_u8(b, 4)),
                          vreinterpretq_s8_u8(vandq_u8(a, mask)), vreinterpretq_s8_u8(vandq_u8(b, mask))}};
}

/* A group of two rows and two vectors, times the rows' group scales */
MMOE_I8MM static inline int32x4_t add_group(int32x4_t sum, int8x16x4_t rows, int8x16x4_t x, int32x4_t scales) {
    int32x4_t part = vmmlaq_s32(vmmlaq_s32(vdupq_n_s32(0), rows.val[0], x.val[0]), rows.val[1], x.val[1]);
    part = vmmlaq_s32(vmmlaq_s32(part, rows.val[2], x.val[2]), rows.val[3], x.val[3]);
    return vmlaq_s32(sum, vshrq_n_s32(part, 4), scales);
}

/* inputs: int8 (groups, pairs, 4, 16); pairs of vectors: 1 or 2 */
MMOE_I8MM static void sums_of_pairs(const mmoe_matrix *w, const int8_t *inputs, float *const *y, uint32_t pairs) {
    const uint32_t groups = MMOE_GROUPS((uint32_t)w->columns);
    const uint8_t *p = w->weights, *scale = w->group_scales;
    for (uint32_t row = 0; row < w->rows; row += 4) {
        const int8_t *x = inputs;
        int32x4_t ab01 = vdupq_n_s32(0), ab23 = ab01, cd01 = ab01, cd23 = ab01;
        for (uint32_t group = 0; group < groups; group++, p += 64, scale += 4, x += 64 * pairs) {
            uint32_t word;
            memcpy(&word, scale, 4);
            const uint8x8_t bytes = vcreate_u8(word);
            const uint16x8_t twice = vmovl_u8(vzip1_u8(bytes, bytes)); /* rows 0 0 1 1 2 2 3 3 */
            const int32x4_t scales01 = vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(twice)));
            const int32x4_t scales23 = vreinterpretq_s32_u32(vmovl_high_u16(twice));
            const uint8x16x4_t rows = vld1q_u8_x4(p);
            const int8x16x4_t rows01 = split_rows(rows.val[0], rows.val[1]), rows23 = split_rows(rows.val[2], rows.val[3]);
            const int8x16x4_t ab = vld1q_s8_x4(x);
            ab01 = add_group(ab01, rows01, ab, scales01);
            ab23 = add_group(ab23, rows23, ab, scales23);
            if (pairs == 2) {
                const int8x16x4_t cd = vld1q_s8_x4(x + 64);
                cd01 = add_group(cd01, rows01, cd, scales01);
                cd23 = add_group(cd23, rows23, cd, scales23);
            }
        }
        mmoe_store_pair(ab01, ab23, y, row, w->rows - row);
        if (pairs == 2) mmoe_store_pair(cd01, cd23, y + 2, row, w->rows - row);
    }
}

static void matmul_part(const mmoe_matrix *w, const mmoe_vector *const *x, float *const *y, uint32_t count, void *scratch) {
    if (!mmoe_neon_has(MMOE_NEON_I8MM)) {
        matmul_plain(w, x, y, count, scratch);
        return;
    }
    const uint32_t pairs = (count + 1) / 2, groups = MMOE_GROUPS((uint32_t)w->columns);
    float *to[4];
    for (uint32_t pair = 0; pair < pairs; pair++) {
        const uint32_t first = 2 * pair, second = first + 1 < count ? first + 1 : first;
        const int8_t *a = mmoe_vector_const_s8(x[first]), *b = mmoe_vector_const_s8(x[second]);
        int8_t *inputs = (int8_t *)scratch + 64 * pair;
        to[first] = y[first], to[first + 1] = y[second];
        for (uint32_t group = 0; group < groups; group++, a += 32, b += 32, inputs += 64 * pairs)
            for (uint32_t plane = 0; plane < 2; plane++) { /* every second four columns meet low nibbles */
                const int32x4x2_t words_a = vld2q_s32((const int32_t *)(const void *)a);
                const int32x4x2_t words_b = vld2q_s32((const int32_t *)(const void *)b);
                const int8x16_t plane_a = vreinterpretq_s8_s32(words_a.val[plane]), plane_b = vreinterpretq_s8_s32(words_b.val[plane]);
                vst1q_s8(inputs + 32 * plane, mmoe_low_halves(plane_a, plane_b));
                vst1q_s8(inputs + 32 * plane + 16, mmoe_high_halves(plane_a, plane_b));
            }
    }
    if (pairs == 2)
        sums_of_pairs(w, scratch, to, 2);
    else
        sums_of_pairs(w, scratch, to, 1);
    for (uint32_t i = 0; i < count; i++) mmoe_scale_sums((mmoe_word *)(void *)y[i], w->rows, x[i]->scale, w->row_scales);
}

void mmoe_matmul_s4g32(const mmoe_matrix *w, const mmoe_vector *const *x, float *const *y, uint32_t count, void *scratch) {
    mmoe_matmul_in_parts(matmul_part, w, x, y, count, scratch);
}
