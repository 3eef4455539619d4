/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_s4g32.h"

#define mmoe_sums_s4g32 sums_plain
static void sums_plain(const mmoe_sums *s);
#include "../reference/mmoe_sums_s4g32.c"
#undef mmoe_sums_s4g32

MMOE_AVX2 static void sums_avx2(const mmoe_sums *s) {
    mmoe_group_inputs inputs[MMOE_GROUPS(MMOE_MAX_COLUMNS)];
    for (uint32_t group = 0; group < s->blocks; group++)
        inputs[group] = mmoe_split_inputs((const int8_t *)s->input + MMOE_GROUP * group);
    const uint8_t *p = s->weights, *scale = s->group_scales;
    const __m256i rows01 = mmoe_scale_bytes(0), rows23 = mmoe_scale_bytes(2);
    for (uint32_t tile = 0; tile < s->tiles; tile++) {
        __m256i s01 = _mm256_setzero_si256(), s23 = s01;
        for (uint32_t group = 0; group < s->blocks; group++, p += 64, scale += 4) {
            int32_t word;
            memcpy(&word, scale, 4);
            const __m256i scales = _mm256_set1_epi32(word);
            const mmoe_two_rows w01 = mmoe_split_rows(p), w23 = mmoe_split_rows(p + 32);
            s01 = mmoe_add_rows(s01, &w01, _mm256_shuffle_epi8(scales, rows01), &inputs[group]);
            s23 = mmoe_add_rows(s23, &w23, _mm256_shuffle_epi8(scales, rows23), &inputs[group]);
        }
        _mm_storeu_si128((__m128i *)(void *)(s->sums + 4 * tile), mmoe_add_row_pairs(s01, s23));
    }
}

MMOE_VNNI static void sums_vnni(const mmoe_sums *s) {
    mmoe_group_inputs inputs[MMOE_GROUPS(MMOE_MAX_COLUMNS)];
    for (uint32_t group = 0; group < s->blocks; group++)
        inputs[group] = mmoe_split_inputs_vnni((const int8_t *)s->input + MMOE_GROUP * group);
    const uint8_t *p = s->weights, *scale = s->group_scales;
    for (uint32_t tile = 0; tile < s->tiles; tile++) {
        __m512i sum = _mm512_setzero_si512();
        for (uint32_t group = 0; group < s->blocks; group++, p += 64, scale += 4) {
            const mmoe_four_rows w = mmoe_split_rows_vnni(p);
            sum = mmoe_add_rows_vnni(sum, &w, mmoe_row_scales_vnni(scale), &inputs[group]);
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
