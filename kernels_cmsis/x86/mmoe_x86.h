/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MMOE_X86_H
#define MMOE_X86_H

#include <cpuid.h>
#include <immintrin.h>
#include <stdatomic.h>

#include "../reference/mmoe_private.h"

/* Instructions that only some x86-64 have; a kernel asks for them each time it runs. */
enum { MMOE_X86_AVX2 = 1, MMOE_X86_VNNI = 2, MMOE_X86_CLMUL = 4 };

/* Which of them a build may use; 0 leaves the plain loops. */
#ifndef MMOE_X86_ALLOWED
#define MMOE_X86_ALLOWED (MMOE_X86_AVX2 | MMOE_X86_VNNI | MMOE_X86_CLMUL)
#endif

#define MMOE_AVX2 __attribute__((target("avx2")))
#define MMOE_VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))
#define MMOE_CLMUL __attribute__((target("pclmul,sse4.1")))

/* CPUID bits: Intel SDM volume 2, table 3-8; AMD APM volume 3, appendix E. The system must keep the registers too (XCR0). */
static inline uint32_t mmoe_x86_ask(void) {
    uint32_t a, b, c, d, found = 1u << 31, state = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return found;
    if ((c & 1u << 1) && (c & 1u << 19)) found |= MMOE_X86_CLMUL;
    if (c & 1u << 27) /* volatile: not before it is known to exist */
        __asm__ volatile("xgetbv" : "=a"(state), "=d"(d) : "c"(0));
    if ((state & 0x6) != 0x6 || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return found;
    if (b & 1u << 5) found |= MMOE_X86_AVX2;
    const uint32_t f_bw_vl = 1u << 16 | 1u << 30 | 1u << 31;
    if ((state & 0xE6) == 0xE6 && (b & f_bw_vl) == f_bw_vl && (c & 1u << 11)) found |= MMOE_X86_VNNI;
    return found;
}

static inline int mmoe_x86_has(uint32_t feature) {
    static atomic_uint known;
    uint32_t found = atomic_load_explicit(&known, memory_order_relaxed);
    if (!found) atomic_store_explicit(&known, found = mmoe_x86_ask(), memory_order_relaxed);
    return (found & feature & MMOE_X86_ALLOWED) != 0;
}

static inline __m128i mmoe_load16(const void *p) { return _mm_loadu_si128((const __m128i *)p); }

/* The sums of each of four vectors of eight */
MMOE_AVX2 static inline __m128i mmoe_add_lanes(__m256i a, __m256i b, __m256i c, __m256i d) {
    const __m256i sums = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
    return _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
}

/* The sum of each quarter of a vector of sixteen */
MMOE_VNNI static inline __m128i mmoe_add_quarters(__m512i a) {
    const __m512i pairs = _mm512_add_epi32(a, _mm512_shuffle_epi32(a, _MM_PERM_CDAB));
    const __m512i sums = _mm512_add_epi32(pairs, _mm512_shuffle_epi32(pairs, _MM_PERM_BADC));
    return _mm512_castsi512_si128(_mm512_permutexvar_epi32(_mm512_set_epi32(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12, 8, 4, 0), sums));
}

#endif
