/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MMOE_ATTENTION_H
#define MMOE_ATTENTION_H

#include "mmoe_private.h"

/* mmoe_attention_s8 of the key/value heads first..end - 1, inlined: what takes all of them pays for no limits. With `keep` alone
 * their keys and values are kept, and nothing else is done.
 *
 * A layer's cache: keys and values of each key/value head; then key scales f32 (kv_heads, context), then value scales.
 * Scratch: z (heads at once, max(pad(context, 4), pad(head_dim, 4))); b int16 (heads at once, pad(context, 16)); queries (heads
 * at once); k and v int8 (pad(head_dim, 16)). */
static inline __attribute__((always_inline)) mmoe_status mmoe_attend_layer(const mmoe_attention *a, float *qkv, void *kv,
                                                                           uint32_t position, float *out, void *scratch,
                                                                           uint32_t first, uint32_t end, int keep) {
    const uint32_t dim = a->head_dim, context = a->context, group = (uint32_t)a->heads / a->kv_heads;
    const uint32_t padded = MMOE_PAD(dim, 16u), at_once = MMOE_HEADS_AT_ONCE(group);
    mmoe_word *z = scratch;
    int16_t *b = (int16_t *)(void *)(z + at_once * MMOE_SCORES(context, dim));
    int8_t *queries = (int8_t *)(void *)(b + at_once * MMOE_PAD(context, 16u));
    int8_t *k = queries + at_once * MMOE_QUERY_BYTES(dim), *v = k + padded;
    int8_t *keys = (int8_t *)kv + first * (MMOE_KEY_BYTES(context, dim) + MMOE_VALUE_BYTES(context, dim));
    float *key_scales = (float *)(void *)((int8_t *)kv + 2 * a->kv_heads * padded * MMOE_PAD(context, 16u)) + first * context;
    float *value_scales = key_scales + a->kv_heads * context;
    const float root = 1.0f / mmoe_sqrt_f32((float)(int32_t)dim);

    if (dim != padded) memset(k, 0, 2 * padded);
    if (!keep) out += first * group * dim;
    for (uint32_t g = first; g < end; g++, key_scales += context, value_scales += context) {
        int8_t *values = keys + MMOE_KEY_BYTES(context, dim);
        float *query = qkv + g * group * dim, *key = qkv + (a->heads + g) * dim, *value = key + a->kv_heads * dim;
        if (mmoe_head_s8(a, key, position, k, &key_scales[position]) != MMOE_OK) return MMOE_E_NUMERIC;
        if (mmoe_quantize_row_s8(value, dim, v, &value_scales[position]) != MMOE_OK) return MMOE_E_NUMERIC;
        mmoe_keep_s8(keys, values, context, dim, position, k, v);
        if (keep) {
            keys = values + MMOE_VALUE_BYTES(context, dim);
            continue;
        }
        mmoe_heads heads = {keys, values, key_scales, value_scales, position + 1, context, dim, 0, queries, {0}, z, b, out};
        for (uint32_t left = group; left; left -= heads.count, heads.out += heads.count * dim) {
            heads.count = left < at_once ? left : at_once;
            if (dim != padded) memset(queries, 0, at_once * MMOE_QUERY_BYTES(dim));
            for (uint32_t h = 0; h < heads.count; h++, query += dim) {
                float scale;
                if (mmoe_query_s8(a, query, position, queries, h, heads.count, &scale) != MMOE_OK) return MMOE_E_NUMERIC;
                heads.factors[h] = scale * root;
            }
            mmoe_attend_s8(&heads);
        }
        out += group * dim;
        keys = values + MMOE_VALUE_BYTES(context, dim);
    }
    return MMOE_OK;
}

#endif
