/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_x86.h"

#define mmoe_sums_s4g32 sums_plain
static void sums_plain(const mmoe_sums *s);
#include "../reference/mmoe_sums_s4g32.c"
#undef mmoe_sums_s4g32

/* One group of inputs: those that meet low nibbles (every second four columns), those that meet high ones, and 8 times the
 * sums of those that one lane adds up. PMADDUBSW and VPDPBUSD take unsigned times signed: nibbles are made 8 larger (their
 * top bit turned over), and the excess takes that out again. */
typedef struct {
    __m128i low, high, excess;
} group_inputs;

#define WORDS(a, b, which) _mm_castps_si128(_mm_shuffle_ps(_mm_castsi128_ps(a), _mm_castsi128_ps(b), which))

MMOE_AVX2 static inline group_inputs split_inputs(const int8_t *x) {
    const __m128i a = mmoe_load16(x), b = mmoe_load16(x + 16), eight = _mm_set1_epi8(8);
    const __m128i low = WORDS(a, b, 0x88), high = WORDS(a, b, 0xDD);
    return (group_inputs){low, high, _mm_add_epi16(_mm_maddubs_epi16(eight, low), _mm_maddubs_epi16(eight, high))};
}

/* Two rows of a group: adds exact int16 sums of four products, times the rows' group scales. */
MMOE_AVX2 static inline __m256i add_rows(__m256i sum, const uint8_t *p, __m256i scales, const group_inputs *x) {
    const __m256i mask = _mm256_set1_epi8(15);
    const __m256i w = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(const void *)p), _mm256_set1_epi8(-120));
    const __m256i low = _mm256_and_si256(w, mask), high = _mm256_and_si256(_mm256_srli_epi16(w, 4), mask);
    const __m256i products = _mm256_add_epi16(_mm256_maddubs_epi16(low, _mm256_broadcastsi128_si256(x->low)),
                                              _mm256_maddubs_epi16(high, _mm256_broadcastsi128_si256(x->high)));
    const __m256i exact = _mm256_sub_epi16(products, _mm256_broadcastsi128_si256(x->excess));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(exact, scales));
}

MMOE_AVX2 static void sums_avx2(const mmoe_sums *s) {
    group_inputs inputs[MMOE_GROUPS(MMOE_MAX_COLUMNS)];
    for (uint32_t group = 0; group < s->blocks; group++)
        inputs[group] = split_inputs((const int8_t *)s->input + MMOE_GROUP * group);
    const uint8_t *p = s->weights, *scale = s->group_scales;
    /* PSHUFB: the byte of a row into all int16 of its half */
    const __m256i rows01 = _mm256_set_m128i(_mm_set1_epi16(-0x7FFF), _mm_set1_epi16(-0x8000));
    const __m256i rows23 = _mm256_set_m128i(_mm_set1_epi16(-0x7FFD), _mm_set1_epi16(-0x7FFE));
    for (uint32_t tile = 0; tile < s->tiles; tile++) {
        __m256i s01 = _mm256_setzero_si256(), s23 = s01;
        for (uint32_t group = 0; group < s->blocks; group++, p += 64, scale += 4) {
            int32_t word;
            memcpy(&word, scale, 4);
            const __m256i scales = _mm256_set1_epi32(word);
            s01 = add_rows(s01, p, _mm256_shuffle_epi8(scales, rows01), &inputs[group]);
            s23 = add_rows(s23, p + 32, _mm256_shuffle_epi8(scales, rows23), &inputs[group]);
        }
        const __m256i pairs = _mm256_hadd_epi32(s01, s23), all = _mm256_hadd_epi32(pairs, pairs); /* rows 0 2, then 1 3 */
        _mm_storeu_si128((__m128i *)(void *)(s->sums + 4 * tile),
                         _mm_unpacklo_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1)));
    }
}

MMOE_VNNI static void sums_vnni(const mmoe_sums *s) {
    group_inputs inputs[MMOE_GROUPS(MMOE_MAX_COLUMNS)];
    for (uint32_t group = 0; group < s->blocks; group++) {
        inputs[group] = split_inputs((const int8_t *)s->input + MMOE_GROUP * group);
        inputs[group].excess = _mm_madd_epi16(inputs[group].excess, _mm_set1_epi16(-1));
    }
    const uint8_t *p = s->weights, *scale = s->group_scales;
    const __m512i mask = _mm512_set1_epi8(15), offset = _mm512_set1_epi8(-120);
    /* VPSHUFB: the byte of a row into all int32 of its quarter */
    const __m512i rows = _mm512_add_epi32(_mm512_set1_epi32(-0x7F7F8000),
                                          _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0));
    for (uint32_t tile = 0; tile < s->tiles; tile++) {
        __m512i sum = _mm512_setzero_si512();
        for (uint32_t group = 0; group < s->blocks; group++, p += 64, scale += 4) {
            int32_t word;
            memcpy(&word, scale, 4);
            const __m512i w = _mm512_xor_si512(_mm512_loadu_si512(p), offset), low = _mm512_and_si512(w, mask);
            const __m512i high = _mm512_and_si512(_mm512_srli_epi16(w, 4), mask);
            __m512i products = _mm512_broadcast_i32x4(inputs[group].excess);
            products = _mm512_dpbusd_epi32(products, low, _mm512_broadcast_i32x4(inputs[group].low));
            products = _mm512_dpbusd_epi32(products, high, _mm512_broadcast_i32x4(inputs[group].high));
            /* a sum of eight products fits int16; the high halves meet zeros */
            sum = _mm512_dpwssd_epi32(sum, products, _mm512_shuffle_epi8(_mm512_set1_epi32(word), rows));
        }
        _mm_storeu_si128((__m128i *)(void *)(s->sums + 4 * tile), mmoe_add_quarters(sum));
    }
}

void mmoe_sums_s4g32(const mmoe_sums *s) {
    if (mmoe_x86_has(MMOE_X86_VNNI))
        sums_vnni(s);
    else if (mmoe_x86_has(MMOE_X86_AVX2))
        sums_avx2(s);
    else
        sums_plain(s);
}
