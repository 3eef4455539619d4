/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MMOE_DSP_H
#define MMOE_DSP_H

#include "../reference/mmoe_private.h"

#define MMOE_UNUSED __attribute__((unused))
/* A function whose whole body is assembly: the loops below need every register. */
#define MMOE_NAKED __attribute__((naked, noinline))

/* Behind the header of an activation vector, and in a query: int16 in the order that SXTB16 gives, so that words of
 * activations meet words of weights. Columns c..c+3 are the words (c, c+2) and (c+1, c+3). */
static inline uint32_t *mmoe_vector_words(mmoe_vector *v) { return (uint32_t *)(void *)(v + 1); }
static inline const uint32_t *mmoe_vector_const_words(const mmoe_vector *v) { return (const uint32_t *)(const void *)(v + 1); }

/* y (rows) holds int32 sums; makes them f32(sum) * (scale * row_scales). */
static inline void mmoe_scale_sums(mmoe_word *y, uint32_t rows, float scale, const float *row_scales) {
    for (; rows >= 4; rows -= 4, y += 4, row_scales += 4) {
        y[0].f = (float)y[0].i * (scale * row_scales[0]);
        y[1].f = (float)y[1].i * (scale * row_scales[1]);
        y[2].f = (float)y[2].i * (scale * row_scales[2]);
        y[3].f = (float)y[3].i * (scale * row_scales[3]);
    }
    for (uint32_t i = 0; i < rows; i++) y[i].f = (float)y[i].i * (scale * row_scales[i]);
}

#endif
