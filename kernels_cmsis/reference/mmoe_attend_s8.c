/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_private.h"

void mmoe_attend_s8(const mmoe_heads *a) {
    const uint32_t dim = a->head_dim, blocks = (a->positions + 15) / 16;
    const mmoe_sums scores = {a->keys, NULL, NULL, MMOE_PAD(dim, 16u) / 16, 0, a->z, (a->positions + 3) / 4};
    const mmoe_sums mixed = {a->values, NULL, a->b, blocks, 64 * (MMOE_PAD(a->context, 16u) / 16 - blocks), a->z, (dim + 3) / 4};
    float *out = a->out;
    for (uint32_t h = 0; h < a->count; h++, out += dim) {
        mmoe_sums sums = scores;
        sums.input = a->queries + h * MMOE_QUERY_BYTES(dim);
        mmoe_sums_s8(&sums);
        const float factor = mmoe_softmax_s16(a->z, a->positions, a->factors[h], a->key_scales, a->value_scales, a->b);
        mmoe_sums_s16(&mixed);
        for (uint32_t i = 0; i < dim; i += 2) {
            out[i] = (float)a->z[i].i * factor;
            out[i + 1] = (float)a->z[i + 1].i * factor;
        }
    }
}
