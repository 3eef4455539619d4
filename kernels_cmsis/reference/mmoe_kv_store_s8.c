/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_private.h"

/* keys int8 (context, pad(head_dim, 16)), then values of the same shape */
void mmoe_kv_store_s8(const mmoe_kv_head *kv, const int8_t *k, const int8_t *v) {
    uint32_t stride = MMOE_PAD(kv->head_dim, 16u);
    int8_t *key = (int8_t *)kv->cache + (kv->positions - 1) * stride;
    memcpy(key, k, stride);
    memcpy(key + kv->context * stride, v, stride);
}
