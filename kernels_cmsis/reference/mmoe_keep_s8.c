/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_private.h"

void mmoe_keep_s8(int8_t *keys, int8_t *values, uint32_t context, uint32_t dim, uint32_t position, const int8_t *k,
                  const int8_t *v) {
    const uint32_t padded = MMOE_PAD(dim, 16u), tile_bytes = 4 * MMOE_PAD(context, 16u);
    keys += position / 4 * 4 * padded + position % 4 * 16;
    for (uint32_t i = 0; i < padded; i += 16, keys += 64) memcpy(keys, k + i, 16);
    values += position / 16 * 64 + position % 16;
    for (uint32_t i = 0; i < dim; i += 4, values += tile_bytes)
        values[0] = v[i], values[16] = v[i + 1], values[32] = v[i + 2], values[48] = v[i + 3];
}
