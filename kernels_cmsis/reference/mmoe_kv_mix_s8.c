/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_private.h"

void mmoe_kv_mix_s8(const mmoe_kv_head *kv, const int16_t *b, mmoe_word *sum) {
    uint32_t stride = MMOE_PAD(kv->head_dim, 16u);
    const int8_t *values = (const int8_t *)kv->cache + kv->context * stride;
    for (uint32_t head = 0; head < kv->heads; head++, b += MMOE_PAD(kv->context, 8u), sum += kv->head_dim) {
        for (uint32_t i = 0; i < kv->head_dim; i++) sum[i].i = 0;
        const int8_t *value = values;
        for (uint32_t u = 0; u < kv->positions; u++, value += stride)
            for (uint32_t i = 0; i < kv->head_dim; i++) sum[i].i += b[u] * value[i];
    }
}
