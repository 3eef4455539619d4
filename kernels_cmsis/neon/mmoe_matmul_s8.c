/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_matmul.h"

#define mmoe_matmul_s8 matmul_plain
static void matmul_plain(const mmoe_matrix *w, const mmoe_vector *const *x, float *const *y, uint32_t count, void *scratch);
#include "../reference/mmoe_matmul_s8.c"
#undef mmoe_matmul_s8

/* Two vectors, or twice two; the other two may be the same as the first. inputs: int8 (blocks, 4, 16), halves of a and b low and
 * high, then of c and d */
MMOE_I8MM static void sums_of_4(const mmoe_matrix *w, const int8_t *inputs, float *const y[4]) {
    const uint32_t blocks = MMOE_PAD(w->columns, 16u) / 16;
    const int8_t *p = w->weights;
    for (uint32_t row = 0; row < w->rows; row += 4) {
        const int8_t *x = inputs;
        int32x4_t ab01 = vdupq_n_s32(0), ab23 = ab01, cd01 = ab01, cd23 = ab01;
        for (uint32_t block = 0; block < blocks; block++, p += 64, x += 64) {
            const int8x16x4_t v = vld1q_s8_x4(x), rows = vld1q_s8_x4(p);
            const int8x16_t low01 = mmoe_low_halves(rows.val[0], rows.val[1]), low23 = mmoe_low_halves(rows.val[2], rows.val[3]);
            const int8x16_t high01 = mmoe_high_halves(rows.val[0], rows.val[1]);
            const int8x16_t high23 = mmoe_high_halves(rows.val[2], rows.val[3]);
            ab01 = vmmlaq_s32(vmmlaq_s32(ab01, low01, v.val[0]), high01, v.val[1]);
            ab23 = vmmlaq_s32(vmmlaq_s32(ab23, low23, v.val[0]), high23, v.val[1]);
            cd01 = vmmlaq_s32(vmmlaq_s32(cd01, low01, v.val[2]), high01, v.val[3]);
            cd23 = vmmlaq_s32(vmmlaq_s32(cd23, low23, v.val[2]), high23, v.val[3]);
        }
        mmoe_store_pair(ab01, ab23, y, row, w->rows - row);
        mmoe_store_pair(cd01, cd23, y + 2, row, w->rows - row);
    }
}

MMOE_I8MM static void sums_of_2(const mmoe_matrix *w, const int8_t *inputs, float *const y[2]) {
    const uint32_t blocks = MMOE_PAD(w->columns, 16u) / 16;
    const int8_t *p = w->weights;
    for (uint32_t row = 0; row < w->rows; row += 4) {
        const int8_t *x = inputs;
        int32x4_t ab01 = vdupq_n_s32(0), ab23 = ab01;
        for (uint32_t block = 0; block < blocks; block++, p += 64, x += 64) {
            const int8x16_t low = vld1q_s8(x), high = vld1q_s8(x + 16);
            const int8x16x4_t rows = vld1q_s8_x4(p);
            ab01 = vmmlaq_s32(ab01, mmoe_low_halves(rows.val[0], rows.val[1]), low);
            ab01 = vmmlaq_s32(ab01, mmoe_high_halves(rows.val[0], rows.val[1]), high);
            ab23 = vmmlaq_s32(ab23, mmoe_low_halves(rows.val[2], rows.val[3]), low);
            ab23 = vmmlaq_s32(ab23, mmoe_high_halves(rows.val[2], rows.val[3]), high);
        }
        mmoe_store_pair(ab01, ab23, y, row, w->rows - row);
    }
}

static void matmul_part(const mmoe_matrix *w, const mmoe_vector *const *x, float *const *y, uint32_t count, void *scratch) {
    if (!mmoe_neon_has(MMOE_NEON_I8MM)) {
        matmul_plain(w, x, y, count, scratch);
        return;
    }
    int8_t *const inputs = scratch;
    float *to[4];
    for (uint32_t pair = 0; pair < count; pair += 2) {
        const uint32_t other = pair + 1 < count ? pair + 1 : pair;
        const int8_t *a = mmoe_vector_const_s8(x[pair]), *b = mmoe_vector_const_s8(x[other]);
        to[pair] = y[pair], to[pair + 1] = y[other];
        for (uint32_t i = 0; i < w->columns; i += 16) {
            vst1q_s8(inputs + 4 * i + 16 * pair, mmoe_low_halves(vld1q_s8(a + i), vld1q_s8(b + i)));
            vst1q_s8(inputs + 4 * i + 16 * pair + 16, mmoe_high_halves(vld1q_s8(a + i), vld1q_s8(b + i)));
        }
    }
    if (count > 2)
        sums_of_4(w, inputs, to);
    else
        sums_of_2(w, inputs, to);
    for (uint32_t i = 0; i < count; i++) mmoe_scale_sums((mmoe_word *)(void *)y[i], w->rows, x[i]->scale, w->row_scales);
}

void mmoe_matmul_s8(const mmoe_matrix *w, const mmoe_vector *const *x, float *const *y, uint32_t count, void *scratch) {
    mmoe_matmul_in_parts(matmul_part, w, x, y, count, scratch);
}
