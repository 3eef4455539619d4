/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MMOE_LANES_H
#define MMOE_LANES_H

#include "../reference/mmoe_private.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

/* Vectors of four in the language of GCC and clang, for x86-64 (SSE2) and AArch64: every operation is that of the plain loop
 * on each element, and both round subnormal numbers as the written arithmetic does. */
typedef float mmoe_f32x4 __attribute__((vector_size(16)));
typedef int32_t mmoe_s32x4 __attribute__((vector_size(16)));

static inline mmoe_f32x4 mmoe_load4(const float *p) {
    mmoe_f32x4 v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline void mmoe_store4(float *p, mmoe_f32x4 v) { memcpy(p, &v, sizeof v); }
static inline mmoe_f32x4 mmoe_all4(float x) { return (mmoe_f32x4){x, x, x, x}; }

/* a > b ? a : b */
static inline mmoe_f32x4 mmoe_above4(mmoe_f32x4 a, mmoe_f32x4 b) {
    const mmoe_s32x4 above = a > b;
    return (mmoe_f32x4)(((mmoe_s32x4)a & above) | ((mmoe_s32x4)b & ~above));
}

/* Four int8 as float */
static inline mmoe_f32x4 mmoe_widen4(const int8_t *p) {
    return (mmoe_f32x4){(float)p[0], (float)p[1], (float)p[2], (float)p[3]};
}

/* mmoe_rint; |x| <= 2^22 */
static inline mmoe_s32x4 mmoe_rint4(mmoe_f32x4 x) { return (mmoe_s32x4)(x + 0x1.8p23f) - 0x4B400000; }

/* Eight integers as int16; they fit. */
static inline void mmoe_narrow8(mmoe_s32x4 a, mmoe_s32x4 b, int16_t *to) {
#if defined(__SSE2__)
    _mm_storeu_si128((__m128i *)(void *)to, _mm_packs_epi32((__m128i)a, (__m128i)b));
#else
    vst1q_s16(to, vmovn_high_s32(vmovn_s32((int32x4_t)a), (int32x4_t)b));
#endif
}

/* Sixteen integers as int8; they fit. */
static inline void mmoe_narrow16(const mmoe_s32x4 v[4], int8_t *to) {
#if defined(__SSE2__)
    const __m128i low = _mm_packs_epi32((__m128i)v[0], (__m128i)v[1]), high = _mm_packs_epi32((__m128i)v[2], (__m128i)v[3]);
    _mm_storeu_si128((__m128i *)(void *)to, _mm_packs_epi16(low, high));
#else
    const int16x8_t low = vmovn_high_s32(vmovn_s32((int32x4_t)v[0]), (int32x4_t)v[1]);
    const int16x8_t high = vmovn_high_s32(vmovn_s32((int32x4_t)v[2]), (int32x4_t)v[3]);
    vst1q_s8(to, vmovn_high_s16(vmovn_s16(low), high));
#endif
}

/* exp of SPEC.md 3.1 */
static inline mmoe_f32x4 mmoe_exp4(mmoe_f32x4 x) {
    x = mmoe_above4(x, mmoe_all4(-87.0f)); /* so that NaN becomes -87 */
    x = -mmoe_above4(-x, mmoe_all4(-87.0f));
    const mmoe_f32x4 t = x * 0x1.715476p+0f, shifted = t + 0x1.8p23f, f = t - (shifted - 0x1.8p23f);
    mmoe_f32x4 y = mmoe_all4(0x1.3a02ccp-7f);
    y = y * f + 0x1.c9fc46p-5f;
    y = y * f + 0x1.ec0378p-3f;
    y = y * f + 0x1.62e12cp-1f;
    y = y * f + 1.0f;
    return (mmoe_f32x4)((mmoe_s32x4)y + ((mmoe_s32x4)shifted << 23));
}

#endif
