/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_private.h"

void mmoe_kv_scores_s8(const mmoe_kv_head *kv, const int8_t *query, mmoe_word *dot) {
    for (uint32_t head = 0; head < kv->heads; head++) {
        const int8_t *q = query + head * MMOE_QUERY_BYTES(kv->head_dim), *key = kv->cache;
        for (uint32_t u = 0; u < kv->positions; u++, key += MMOE_PAD(kv->head_dim, 16u)) {
            int32_t sum = 0;
            for (uint32_t i = 0; i < kv->head_dim; i++) sum += q[i] * key[i];
            dot[head * kv->context + u].i = sum;
        }
    }
}
