/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_matmul.h"

#define mmoe_matmul_s8 matmul_plain
static void matmul_plain(const mmoe_matrix *w, const mmoe_vector *const *x, float *const *y, uint32_t count, void *scratch);
#include "../reference/mmoe_matmul_s8.c"
#undef mmoe_matmul_s8

/* Two rows of a tile at p, their sums of pairs of lanes. inputs: int16 (blocks, count, 16) */
MMOE_AVX2 MMOE_EACH_COUNT void sums_of_rows(const int8_t *p, const int16_t *inputs, uint32_t blocks, __m256i *pairs,
                                            uint32_t count) {
    __m256i a[MMOE_AT_ONCE], b[MMOE_AT_ONCE];
    for (uint32_t v = 0; v < count; v++) a[v] = b[v] = _mm256_setzero_si256();
    for (uint32_t block = 0; block < blocks; block++, p += 64, inputs += 16 * count) {
        const __m256i row_a = _mm256_cvtepi8_epi16(mmoe_load16(p)), row_b = _mm256_cvtepi8_epi16(mmoe_load16(p + 16));
        for (uint32_t v = 0; v < count; v++) {
            const __m256i x = _mm256_loadu_si256((const __m256i *)(const void *)(inputs + 16 * v));
            a[v] = _mm256_add_epi32(a[v], _mm256_madd_epi16(row_a, x));
            b[v] = _mm256_add_epi32(b[v], _mm256_madd_epi16(row_b, x));
        }
    }
    for (uint32_t v = 0; v < count; v++) pairs[v] = _mm256_hadd_epi32(a[v], b[v]);
}

MMOE_AVX2 MMOE_EACH_COUNT void sums_avx2(const mmoe_matrix *w, const mmoe_vector *const *x, float *const *y, int16_t *inputs,
                                         uint32_t count) {
    const uint32_t blocks = MMOE_PAD(w->columns, 16u) / 16;
    for (uint32_t block = 0; block < blocks; block++)
        for (uint32_t v = 0; v < count; v++)
            _mm256_storeu_si256((__m256i *)(void *)(inputs + 16 * (block * count + v)),
                                _mm256_cvtepi8_epi16(mmoe_load16(mmoe_vector_const_s8(x[v]) + 16 * block)));
    const int8_t *p = w->weights;
    for (uint32_t row = 0; row < w->rows; row += 4, p += 64 * blocks) {
        __m256i rows01[MMOE_AT_ONCE], rows23[MMOE_AT_ONCE];
        sums_of_rows(p, inputs, blocks, rows01, count);
        sums_of_rows(p + 32, inputs, blocks, rows23, count);
        for (uint32_t v = 0; v < count; v++) {
            const __m256i all = _mm256_hadd_epi32(rows01[v], rows23[v]);
            mmoe_store_tile(_mm_add_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1)), y[v] + row, w->rows - row);
        }
    }
}

/* VPDPBUSD takes unsigned times signed: weights are made 128 larger, which 128 times the sum of inputs takes out. */
MMOE_VNNI MMOE_EACH_COUNT void sums_vnni(const mmoe_matrix *w, const mmoe_vector *const *x, float *const *y, uint32_t count) {
    const uint32_t columns = MMOE_PAD(w->columns, 16u);
    const __m512i offset = _mm512_set1_epi8(-128);
    const int8_t *p = w->weights, *in[MMOE_AT_ONCE];
    __m512i excess[MMOE_AT_ONCE];
    for (uint32_t v = 0; v < count; v++) {
        __m128i inputs = _mm_setzero_si128();
        in[v] = mmoe_vector_const_s8(x[v]);
        for (uint32_t i = 0; i < columns; i += 16) inputs = _mm_dpbusd_epi32(inputs, _mm_set1_epi8(-128), mmoe_load16(in[v] + i));
        excess[v] = _mm512_broadcast_i32x4(_mm_sub_epi32(_mm_setzero_si128(), inputs));
    }
    for (uint32_t row = 0; row < w->rows; row += 4) {
        __m512i sums[MMOE_AT_ONCE];
        for (uint32_t v = 0; v < count; v++) sums[v] = excess[v];
        for (uint32_t i = 0; i < columns; i += 16, p += 64) {
            const __m512i tile = _mm512_xor_si512(_mm512_loadu_si512(p), offset);
            for (uint32_t v = 0; v < count; v++)
                sums[v] = _mm512_dpbusd_epi32(sums[v], tile, _mm512_broadcast_i32x4(mmoe_load16(in[v] + i)));
        }
        for (uint32_t v = 0; v < count; v++) mmoe_store_tile(mmoe_add_quarters(sums[v]), y[v] + row, w->rows - row);
    }
}

MMOE_AVX2 static void matmul_avx2(const mmoe_matrix *w, const mmoe_vector *const *x, float *const *y, uint32_t count,
                                  void *scratch) {
    MMOE_CALL_COUNT(sums_avx2, count, w, x, y, scratch);
}

MMOE_VNNI static void matmul_vnni(const mmoe_matrix *w, const mmoe_vector *const *x, float *const *y, uint32_t count) {
    MMOE_CALL_COUNT(sums_vnni, count, w, x, y);
}

static void matmul_part(const mmoe_matrix *w, const mmoe_vector *const *x, float *const *y, uint32_t count, void *scratch) {
    if (mmoe_x86_has(MMOE_X86_VNNI)) {
        matmul_vnni(w, x, y, count);
    } else if (mmoe_x86_has(MMOE_X86_AVX2)) {
        matmul_avx2(w, x, y, count, scratch);
    } else {
        matmul_plain(w, x, y, count, scratch);
        return;
    }
    for (uint32_t i = 0; i < count; i++) mmoe_scale_sums((mmoe_word *)(void *)y[i], w->rows, x[i]->scale, w->row_scales);
}

void mmoe_matmul_s8(const mmoe_matrix *w, const mmoe_vector *const *x, float *const *y, uint32_t count, void *scratch) {
    mmoe_matmul_in_parts(matmul_part, w, x, y, count, scratch);
}
