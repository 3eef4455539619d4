/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_dsp.h"

#define mmoe_softmax_s16 softmax_in_order
static float softmax_in_order(mmoe_word *z, uint32_t n, float factor, const float *key_scale, const float *value_scale,
                              int16_t *b);
#include "../reference/mmoe_softmax_s16.c"
#undef mmoe_softmax_s16

float mmoe_softmax_s16(mmoe_word *z, uint32_t n, float factor, const float *key_scale, const float *value_scale,
                       int16_t *b) {
    const float scale = softmax_in_order(z, n, factor, key_scale, value_scale, b);
    for (const int16_t *const end = b + n; b < end; b += 4) { /* into the words that SXTB16 gives */
        const int16_t second = b[1];
        b[1] = b[2];
        b[2] = second;
    }
    return scale;
}
