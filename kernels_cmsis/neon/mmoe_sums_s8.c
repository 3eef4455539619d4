/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_neon.h"

/* Two products of -128..127 and -127..127 fit int16. */
static inline int32x4_t add_products(int32x4_t sum, int8x16_t w, int8x16_t x) {
    return vpadalq_s16(sum, vmlal_high_s8(vmull_s8(vget_low_s8(w), vget_low_s8(x)), w, x));
}

static void sums_plain(const mmoe_sums *s) {
    const int8_t *p = s->weights;
    for (uint32_t tile = 0; tile < s->tiles; tile++, p += s->skip) {
        const int8_t *x = s->input, *end = x + 16 * s->blocks;
        int32x4_t s0 = vdupq_n_s32(0), s1 = s0, s2 = s0, s3 = s0;
        for (; x < end; x += 16, p += 64) {
            const int8x16_t input = vld1q_s8(x);
            const int8x16x4_t w = vld1q_s8_x4(p);
            s0 = add_products(s0, w.val[0], input);
            s1 = add_products(s1, w.val[1], input);
            s2 = add_products(s2, w.val[2], input);
            s3 = add_products(s3, w.val[3], input);
        }
        vst1q_s32(&s->sums[4 * tile].i, mmoe_add_lanes(s0, s1, s2, s3));
    }
}

MMOE_DOT static void sums_dot(const mmoe_sums *s) {
    const int8_t *p = s->weights;
    for (uint32_t tile = 0; tile < s->tiles; tile++, p += s->skip) {
        const int8_t *x = s->input, *end = x + 16 * s->blocks;
        int32x4_t s0 = vdupq_n_s32(0), s1 = s0, s2 = s0, s3 = s0;
        for (; x < end; x += 16, p += 64) {
            const int8x16_t input = vld1q_s8(x);
            const int8x16x4_t w = vld1q_s8_x4(p);
            s0 = vdotq_s32(s0, w.val[0], input);
            s1 = vdotq_s32(s1, w.val[1], input);
            s2 = vdotq_s32(s2, w.val[2], input);
            s3 = vdotq_s32(s3, w.val[3], input);
        }
        vst1q_s32(&s->sums[4 * tile].i, mmoe_add_lanes(s0, s1, s2, s3));
    }
}

void mmoe_sums_s8(const mmoe_sums *s) {
    if (mmoe_neon_has(MMOE_NEON_DOT))
        sums_dot(s);
    else
        sums_plain(s);
}
