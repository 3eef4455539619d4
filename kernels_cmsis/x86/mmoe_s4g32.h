/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MMOE_S4G32_H
#define MMOE_S4G32_H

#include "mmoe_x86.h"

/* One group of inputs: those that meet low nibbles (every second four columns), those that meet high ones, and 8 times the
 * sums of those that one lane adds up. PMADDUBSW and VPDPBUSD take unsigned times signed: nibbles are made 8 larger (their
 * top bit turned over), and the excess takes that out again. */
typedef struct {
    __m128i low, high, excess;
} mmoe_group_inputs;

#define MMOE_WORDS(a, b, which) _mm_castps_si128(_mm_shuffle_ps(_mm_castsi128_ps(a), _mm_castsi128_ps(b), which))

MMOE_AVX2 static inline mmoe_group_inputs mmoe_split_inputs(const int8_t *x) {
    const __m128i a = mmoe_load16(x), b = mmoe_load16(x + 16), eight = _mm_set1_epi8(8);
    const __m128i low = MMOE_WORDS(a, b, 0x88), high = MMOE_WORDS(a, b, 0xDD);
    return (mmoe_group_inputs){low, high, _mm_add_epi16(_mm_maddubs_epi16(eight, low), _mm_maddubs_epi16(eight, high))};
}

/* The same for VPDPBUSD, whose lanes are int32: minus 8 times the sums */
MMOE_VNNI static inline mmoe_group_inputs mmoe_split_inputs_vnni(const int8_t *x) {
    mmoe_group_inputs inputs = mmoe_split_inputs(x);
    inputs.excess = _mm_madd_epi16(inputs.excess, _mm_set1_epi16(-1));
    return inputs;
}

/* Two rows of a group, nibbles 8 too large */
typedef struct {
    __m256i low, high;
} mmoe_two_rows;

MMOE_AVX2 static inline mmoe_two_rows mmoe_split_rows(const uint8_t *p) {
    const __m256i mask = _mm256_set1_epi8(15);
    const __m256i w = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(const void *)p), _mm256_set1_epi8(-120));
    return (mmoe_two_rows){_mm256_and_si256(w, mask), _mm256_and_si256(_mm256_srli_epi16(w, 4), mask)};
}

/* Adds exact int16 sums of four products, times the rows' group scales. */
MMOE_AVX2 static inline __m256i mmoe_add_rows(__m256i sum, const mmoe_two_rows *w, __m256i scales, const mmoe_group_inputs *x) {
    const __m256i products = _mm256_add_epi16(_mm256_maddubs_epi16(w->low, _mm256_broadcastsi128_si256(x->low)),
                                              _mm256_maddubs_epi16(w->high, _mm256_broadcastsi128_si256(x->high)));
    const __m256i exact = _mm256_sub_epi16(products, _mm256_broadcastsi128_si256(x->excess));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(exact, scales));
}

/* For VPSHUFB, of a word of four group scales: the byte of row `row` into all int16 of the low half, of the next one of the high */
MMOE_AVX2 static inline __m256i mmoe_scale_bytes(int16_t row) {
    return _mm256_set_m128i(_mm_set1_epi16((int16_t)(row - 0x7FFF)), _mm_set1_epi16((int16_t)(row - 0x8000)));
}

/* The sums of rows 0 to 3 from those of rows 0 and 1 and of rows 2 and 3 */
MMOE_AVX2 static inline __m128i mmoe_add_row_pairs(__m256i s01, __m256i s23) {
    const __m256i pairs = _mm256_hadd_epi32(s01, s23), all = _mm256_hadd_epi32(pairs, pairs); /* rows 0 2, then 1 3 */
    return _mm_unpacklo_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
}

/* Four rows of a group, nibbles 8 too large */
typedef struct {
    __m512i low, high;
} mmoe_four_rows;

MMOE_VNNI static inline mmoe_four_rows mmoe_split_rows_vnni(const uint8_t *p) {
    const __m512i mask = _mm512_set1_epi8(15), w = _mm512_xor_si512(_mm512_loadu_si512(p), _mm512_set1_epi8(-120));
    return (mmoe_four_rows){_mm512_and_si512(w, mask), _mm512_and_si512(_mm512_srli_epi16(w, 4), mask)};
}

/* The group scale of each row in all int32 of its quarter */
MMOE_VNNI static inline __m512i mmoe_row_scales_vnni(const uint8_t *scale) {
    const __m512i rows = _mm512_add_epi32(_mm512_set1_epi32(-0x7F7F8000),
                                          _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0));
    int32_t word;
    memcpy(&word, scale, 4);
    return _mm512_shuffle_epi8(_mm512_set1_epi32(word), rows);
}

/* A sum of eight products fits int16; the high halves meet zeros. */
MMOE_VNNI static inline __m512i mmoe_add_rows_vnni(__m512i sum, const mmoe_four_rows *w, __m512i scales,
                                                   const mmoe_group_inputs *x) {
    __m512i products = _mm512_broadcast_i32x4(x->excess);
    products = _mm512_dpbusd_epi32(products, w->low, _mm512_broadcast_i32x4(x->low));
    products = _mm512_dpbusd_epi32(products, w->high, _mm512_broadcast_i32x4(x->high));
    return _mm512_dpwssd_epi32(sum, products, scales);
}

#endif
