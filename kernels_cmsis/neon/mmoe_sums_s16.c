/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_neon.h"

static inline int32x4_t add_products(int32x4_t sum, int8x16_t w, int16x8_t x0, int16x8_t x1) {
    const int16x8_t w0 = vmovl_s8(vget_low_s8(w)), w1 = vmovl_high_s8(w);
    sum = vmlal_high_s16(vmlal_s16(sum, vget_low_s16(w0), vget_low_s16(x0)), w0, x0);
    return vmlal_high_s16(vmlal_s16(sum, vget_low_s16(w1), vget_low_s16(x1)), w1, x1);
}

void mmoe_sums_s16(const mmoe_sums *s) {
    const int8_t *p = s->weights;
    for (uint32_t tile = 0; tile < s->tiles; tile++, p += s->skip) {
        const int16_t *x = s->input, *end = x + 16 * s->blocks;
        int32x4_t s0 = vdupq_n_s32(0), s1 = s0, s2 = s0, s3 = s0;
        for (; x < end; x += 16, p += 64) {
            const int16x8_t x0 = vld1q_s16(x), x1 = vld1q_s16(x + 8);
            const int8x16x4_t w = vld1q_s8_x4(p);
            s0 = add_products(s0, w.val[0], x0, x1);
            s1 = add_products(s1, w.val[1], x0, x1);
            s2 = add_products(s2, w.val[2], x0, x1);
            s3 = add_products(s3, w.val[3], x0, x1);
        }
        vst1q_s32(&s->sums[4 * tile].i, mmoe_add_lanes(s0, s1, s2, s3));
    }
}
