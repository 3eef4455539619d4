/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_neon.h"

/* A group of 32 inputs: those that meet low nibbles (every second four columns) and those that meet high ones. */
static inline int32x4x2_t split_inputs(const int8_t *x) { return vld2q_s32((const int32_t *)(const void *)x); }

/* Sums of one row and group, to be added up. Four products of -8..7 and -127..127 fit int16. */
static inline int32x4_t row_plain(uint8x16_t nibbles, int8x16_t x0, int8x16_t x1) {
    const int8x16_t w = vreinterpretq_s8_u8(nibbles), low = vshrq_n_s8(vshlq_n_s8(w, 4), 4), high = vshrq_n_s8(w, 4);
    int16x8_t sum = vmull_s8(vget_low_s8(low), vget_low_s8(x0));
    sum = vmlal_high_s8(sum, low, x0);
    sum = vmlal_s8(sum, vget_low_s8(high), vget_low_s8(x1));
    return vpaddlq_s16(vmlal_high_s8(sum, high, x1));
}

/* The same 16 times too large: nibbles at the top of their bytes are signed. */
MMOE_DOT static inline int32x4_t row_dot(uint8x16_t w, int8x16_t x0, int8x16_t x1) {
    const int8x16_t low = vreinterpretq_s8_u8(vshlq_n_u8(w, 4)), high = vreinterpretq_s8_u8(vandq_u8(w, vdupq_n_u8(0xF0)));
    return vdotq_s32(vdotq_s32(vdupq_n_s32(0), low, x0), high, x1);
}

static inline int32x4_t load_scales(const uint8_t *scale) {
    uint32_t word;
    memcpy(&word, scale, 4);
    return vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(vmovl_u8(vcreate_u8(word)))));
}

static void sums_plain(const mmoe_sums *s) {
    const uint8_t *p = s->weights, *scale = s->group_scales;
    for (uint32_t tile = 0; tile < s->tiles; tile++) {
        const int8_t *x = s->input, *end = x + MMOE_GROUP * s->blocks;
        int32x4_t sum = vdupq_n_s32(0);
        for (; x < end; x += MMOE_GROUP, p += 64, scale += 4) {
            const int32x4x2_t inputs = split_inputs(x);
            const uint8x16x4_t w = vld1q_u8_x4(p);
            const int8x16_t x0 = vreinterpretq_s8_s32(inputs.val[0]), x1 = vreinterpretq_s8_s32(inputs.val[1]);
            const int32x4_t rows = mmoe_add_lanes(row_plain(w.val[0], x0, x1), row_plain(w.val[1], x0, x1),
                                                  row_plain(w.val[2], x0, x1), row_plain(w.val[3], x0, x1));
            sum = vmlaq_s32(sum, rows, load_scales(scale));
        }
        vst1q_s32(&s->sums[4 * tile].i, sum);
    }
}

MMOE_DOT static void sums_dot(const mmoe_sums *s) {
    const uint8_t *p = s->weights, *scale = s->group_scales;
    for (uint32_t tile = 0; tile < s->tiles; tile++) {
        const int8_t *x = s->input, *end = x + MMOE_GROUP * s->blocks;
        int32x4_t sum = vdupq_n_s32(0);
        for (; x < end; x += MMOE_GROUP, p += 64, scale += 4) {
            const int32x4x2_t inputs = split_inputs(x);
            const uint8x16x4_t w = vld1q_u8_x4(p);
            const int8x16_t x0 = vreinterpretq_s8_s32(inputs.val[0]), x1 = vreinterpretq_s8_s32(inputs.val[1]);
            const int32x4_t rows = mmoe_add_lanes(row_dot(w.val[0], x0, x1), row_dot(w.val[1], x0, x1),
                                                  row_dot(w.val[2], x0, x1), row_dot(w.val[3], x0, x1));
            sum = vmlaq_s32(sum, vshrq_n_s32(rows, 4), load_scales(scale));
        }
        vst1q_s32(&s->sums[4 * tile].i, sum);
    }
}

void mmoe_sums_s4g32(const mmoe_sums *s) {
    if (mmoe_neon_has(MMOE_NEON_DOT))
        sums_dot(s);
    else
        sums_plain(s);
}
