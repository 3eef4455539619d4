/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_matmul.h"
#include "mmoe_s4g32.h"

#define mmoe_matmul_s4g32 matmul_plain
static void matmul_plain(const mmoe_matrix *w, const mmoe_vector *const *x, float *const *y, uint32_t count, void *scratch);
#include "../reference/mmoe_matmul_s4g32.c"
#undef mmoe_matmul_s4g32

/* A group of weights is taken apart once for all vectors. inputs: (groups, count) in the scratch */
MMOE_AVX2 MMOE_EACH_COUNT void sums_avx2(const mmoe_matrix *w, const mmoe_vector *const *x, float *const *y,
                                         mmoe_group_inputs *inputs, uint32_t count) {
    const uint32_t groups = MMOE_GROUPS((uint32_t)w->columns);
    for (uint32_t group = 0; group < groups; group++)
        for (uint32_t v = 0; v < count; v++)
            inputs[group * count + v] = mmoe_split_inputs(mmoe_vector_const_s8(x[v]) + MMOE_GROUP * group);
    const uint8_t *p = w->weights, *scale = w->group_scales;
    const __m256i rows01 = mmoe_scale_bytes(0), rows23 = mmoe_scale_bytes(2);
    for (uint32_t row = 0; row < w->rows; row += 4) {
        __m256i s01[MMOE_AT_ONCE], s23[MMOE_AT_ONCE];
        for (uint32_t v = 0; v < count; v++) s01[v] = s23[v] = _mm256_setzero_si256();
        for (uint32_t group = 0; group < groups; group++, p += 64, scale += 4) {
            const mmoe_group_inputs *const in = inputs + group * count;
            int32_t word;
            memcpy(&word, scale, 4);
            const __m256i scales = _mm256_set1_epi32(word);
            const __m256i scales01 = _mm256_shuffle_epi8(scales, rows01), scales23 = _mm256_shuffle_epi8(scales, rows23);
            const mmoe_two_rows w01 = mmoe_split_rows(p), w23 = mmoe_split_rows(p + 32);
            for (uint32_t v = 0; v < count; v++) s01[v] = mmoe_add_rows(s01[v], &w01, scales01, in + v);
            for (uint32_t v = 0; v < count; v++) s23[v] = mmoe_add_rows(s23[v], &w23, scales23, in + v);
        }
        for (uint32_t v = 0; v < count; v++) mmoe_store_tile(mmoe_add_row_pairs(s01[v], s23[v]), y[v] + row, w->rows - row);
    }
}

MMOE_VNNI MMOE_EACH_COUNT void sums_vnni(const mmoe_matrix *w, const mmoe_vector *const *x, float *const *y,
                                         mmoe_group_inputs *inputs, uint32_t count) {
    const uint32_t groups = MMOE_GROUPS((uint32_t)w->columns);
    for (uint32_t group = 0; group < groups; group++)
        for (uint32_t v = 0; v < count; v++)
            inputs[group * count + v] = mmoe_split_inputs_vnni(mmoe_vector_const_s8(x[v]) + MMOE_GROUP * group);
    const uint8_t *p = w->weights, *scale = w->group_scales;
    for (uint32_t row = 0; row < w->rows; row += 4) {
        __m512i sums[MMOE_AT_ONCE];
        for (uint32_t v = 0; v < count; v++) sums[v] = _mm512_setzero_si512();
        for (uint32_t group = 0; group < groups; group++, p += 64, scale += 4) {
            const mmoe_four_rows rows = mmoe_split_rows_vnni(p);
            const __m512i scales = mmoe_row_scales_vnni(scale);
            for (uint32_t v = 0; v < count; v++)
                sums[v] = mmoe_add_rows_vnni(sums[v], &rows, scales, inputs + group * count + v);
        }
        for (uint32_t v = 0; v < count; v++) mmoe_store_tile(mmoe_add_quarters(sums[v]), y[v] + row, w->rows - row);
    }
}

MMOE_AVX2 static void matmul_avx2(const mmoe_matrix *w, const mmoe_vector *const *x, float *const *y, uint32_t count,
                                  void *scratch) {
    MMOE_CALL_COUNT(sums_avx2, count, w, x, y, scratch);
}

MMOE_VNNI static void matmul_vnni(const mmoe_matrix *w, const mmoe_vector *const *x, float *const *y, uint32_t count,
                                  void *scratch) {
    MMOE_CALL_COUNT(sums_vnni, count, w, x, y, scratch);
}

static void matmul_part(const mmoe_matrix *w, const mmoe_vector *const *x, float *const *y, uint32_t count, void *scratch) {
    if (mmoe_x86_has(MMOE_X86_VNNI)) {
        matmul_vnni(w, x, y, count, scratch);
    } else if (mmoe_x86_has(MMOE_X86_AVX2)) {
        matmul_avx2(w, x, y, count, scratch);
    } else {
        matmul_plain(w, x, y, count, scratch);
        return;
    }
    for (uint32_t i = 0; i < count; i++) mmoe_scale_sums((mmoe_word *)(void *)y[i], w->rows, x[i]->scale, w->row_scales);
}

void mmoe_matmul_s4g32(const mmoe_matrix *w, const mmoe_vector *const *x, float *const *y, uint32_t count, void *scratch) {
    mmoe_matmul_in_parts(matmul_part, w, x, y, count, scratch);
}
