/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_x86.h"

#define mmoe_sums_s16 sums_plain
static void sums_plain(const mmoe_sums *s);
#include "../reference/mmoe_sums_s16.c"
#undef mmoe_sums_s16

#define ROW(sum, at) \
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_cvtepi8_epi16(mmoe_load16(p + (at))), input))

MMOE_AVX2 static void sums_avx2(const mmoe_sums *s) {
    const int8_t *p = s->weights;
    for (uint32_t tile = 0; tile < s->tiles; tile++, p += s->skip) {
        const int16_t *x = s->input, *end = x + 16 * s->blocks;
        __m256i s0 = _mm256_setzero_si256(), s1 = s0, s2 = s0, s3 = s0;
        for (; x < end; x += 16, p += 64) {
            const __m256i input = _mm256_loadu_si256((const __m256i *)(const void *)x);
            ROW(s0, 0), ROW(s1, 16), ROW(s2, 32), ROW(s3, 48);
        }
        _mm_storeu_si128((__m128i *)(void *)(s->sums + 4 * tile), mmoe_add_lanes(s0, s1, s2, s3));
    }
}

/* Two rows of a block in one register, each against the same inputs */
#define TWO_ROWS(sum, at) \
    sum = _mm512_dpwssd_epi32(sum, _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(const void *)(p + (at)))), input)

MMOE_VNNI static void sums_vnni(const mmoe_sums *s) {
    const int8_t *p = s->weights;
    for (uint32_t tile = 0; tile < s->tiles; tile++, p += s->skip) {
        const int16_t *x = s->input, *end = x + 16 * s->blocks;
        __m512i s01 = _mm512_setzero_si512(), s23 = s01;
        for (; x < end; x += 16, p += 64) {
            const __m512i input = _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)(const void *)x));
            TWO_ROWS(s01, 0), TWO_ROWS(s23, 32);
        }
        const __m128i sums = mmoe_add_lanes(_mm512_castsi512_si256(s01), _mm512_extracti64x4_epi64(s01, 1),
                                            _mm512_castsi512_si256(s23), _mm512_extracti64x4_epi64(s23, 1));
        _mm_storeu_si128((__m128i *)(void *)(s->sums + 4 * tile), sums);
    }
}

void mmoe_sums_s16(const mmoe_sums *s) {
    if (mmoe_x86_has(MMOE_X86_VNNI))
        sums_vnni(s);
    else if (mmoe_x86_has(MMOE_X86_AVX2))
        sums_avx2(s);
    else
        sums_plain(s);
}
