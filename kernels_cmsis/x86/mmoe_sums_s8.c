/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_x86.h"

#define mmoe_sums_s8 sums_plain
static void sums_plain(const mmoe_sums *s);
#include "../reference/mmoe_sums_s8.c"
#undef mmoe_sums_s8

#define ROW(sum, at) \
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_cvtepi8_epi16(mmoe_load16(p + (at))), input))

MMOE_AVX2 static void sums_avx2(const mmoe_sums *s) {
    const int8_t *p = s->weights;
    for (uint32_t tile = 0; tile < s->tiles; tile++, p += s->skip) {
        const int8_t *x = s->input, *end = x + 16 * s->blocks;
        __m256i s0 = _mm256_setzero_si256(), s1 = s0, s2 = s0, s3 = s0;
        for (; x < end; x += 16, p += 64) {
            const __m256i input = _mm256_cvtepi8_epi16(mmoe_load16(x));
            ROW(s0, 0), ROW(s1, 16), ROW(s2, 32), ROW(s3, 48);
        }
        _mm_storeu_si128((__m128i *)(void *)(s->sums + 4 * tile), mmoe_add_lanes(s0, s1, s2, s3));
    }
}

/* VPDPBUSD takes unsigned times signed: weights are made 128 larger, which 128 times the sum of inputs takes out. */
#define BLOCK(sum, at)                                                                                       \
    sum = _mm512_dpbusd_epi32(sum, _mm512_xor_si512(_mm512_loadu_si512(p + 64 * (at)), offset),              \
                              _mm512_broadcast_i32x4(mmoe_load16(x + 16 * (at))))

MMOE_VNNI static void sums_vnni(const mmoe_sums *s) {
    const int8_t *p = s->weights;
    const __m512i offset = _mm512_set1_epi8(-128);
    __m128i inputs = _mm_setzero_si128();
    for (const int8_t *x = s->input, *end = x + 16 * s->blocks; x < end; x += 16)
        inputs = _mm_dpbusd_epi32(inputs, _mm_set1_epi8(-128), mmoe_load16(x));
    const __m512i excess = _mm512_broadcast_i32x4(_mm_sub_epi32(_mm_setzero_si128(), inputs));
    for (uint32_t tile = 0; tile < s->tiles; tile++, p += s->skip) {
        const int8_t *x = s->input, *end = x + 16 * s->blocks;
        __m512i even = excess, odd = _mm512_setzero_si512();
        for (; end - x >= 32; x += 32, p += 128) BLOCK(even, 0), BLOCK(odd, 1);
        for (; x < end; x += 16, p += 64) BLOCK(even, 0);
        _mm_storeu_si128((__m128i *)(void *)(s->sums + 4 * tile), mmoe_add_quarters(_mm512_add_epi32(even, odd)));
    }
}

void mmoe_sums_s8(const mmoe_sums *s) {
    if (mmoe_x86_has(MMOE_X86_VNNI))
        sums_vnni(s);
    else if (mmoe_x86_has(MMOE_X86_AVX2))
        sums_avx2(s);
    else
        sums_plain(s);
}
