/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_private.h"

/* A layer's cache: MMOE_KV_HEAD_BYTES for each key/value head, then key scales f32 (kv_heads, context), then value scales.
 * Scratch: z (group, context), b int16 (group, pad(context, 8)), k int8 and v int8 (pad(head_dim, 16)), queries (group). */
mmoe_status mmoe_attention_s8(const mmoe_attention *a, float *qkv, void *kv, uint32_t position, float *out,
                              void *scratch) {
    const uint32_t dim = a->head_dim, context = a->context, group = (uint32_t)a->heads / a->kv_heads;
    const uint32_t positions = position + 1, padded = MMOE_PAD(dim, 16u), b_stride = MMOE_PAD(context, 8u);
    uint8_t *cache = kv;
    float *key_scales = (float *)(void *)(cache + a->kv_heads * MMOE_KV_HEAD_BYTES(context, dim));
    float *value_scales = key_scales + a->kv_heads * context;
    mmoe_word *z = scratch, *sum = (mmoe_word *)(void *)out;
    int16_t *b = (int16_t *)(void *)((uint8_t *)scratch + MMOE_PAD(4 * group * context, 16u));
    int8_t *k = (int8_t *)(void *)(b + group * b_stride), *v = k + padded, *queries = v + padded;
    const float root = 1.0f / mmoe_sqrt_f32((float)(int32_t)dim);

    for (uint32_t head = 0; head < (uint32_t)a->heads + a->kv_heads; head++) {
        float *x = qkv + head * dim;
        mmoe_rotary_f32(x, a->cosine + position * (dim / 2), a->sine + position * (dim / 2), dim);
        if (a->qk_norm) mmoe_rmsnorm_f32(x, NULL, dim, a->eps, x);
    }
    memset(k, 0, 2 * padded + group * MMOE_QUERY_BYTES(dim)); /* k, v and the queries are adjacent */
    memset(b, 0, 2 * group * b_stride);
    for (uint32_t g = 0; g < a->kv_heads; g++, key_scales += context, value_scales += context) {
        const mmoe_kv_head head = {cache + g * MMOE_KV_HEAD_BYTES(context, dim), context, dim, group, positions};
        const float *query = qkv + g * group * dim, *key = qkv + (a->heads + g) * dim, *value = key + a->kv_heads * dim;
        if (mmoe_quantize_row_s8(key, dim, k, &key_scales[position]) != MMOE_OK) return MMOE_E_NUMERIC;
        if (mmoe_quantize_row_s8(value, dim, v, &value_scales[position]) != MMOE_OK) return MMOE_E_NUMERIC;
        mmoe_kv_store_s8(&head, k, v);
        /* Until the sums are written, their first word of a head keeps its factor. */
        for (uint32_t h = 0; h < group; h++) {
            int8_t *q = queries + h * MMOE_QUERY_BYTES(dim);
            if (mmoe_quantize_row_s8(query + h * dim, dim, q, &sum[h * dim].f) != MMOE_OK) return MMOE_E_NUMERIC;
            mmoe_kv_query_s8(q, dim);
        }
        mmoe_kv_scores_s8(&head, queries, z);
        for (uint32_t h = 0; h < group; h++) {
            mmoe_word *scores = z + h * context;
            scores[0].f = mmoe_softmax_s16(scores, positions, sum[h * dim].f * root, key_scales, value_scales,
                                           b + h * b_stride);
        }
        mmoe_kv_mix_s8(&head, b, sum);
        for (uint32_t h = 0; h < group; h++, sum += dim) {
            const float factor = z[h * context].f;
            for (uint32_t i = 0; i < dim; i++) sum[i].f = (float)sum[i].i * factor;
        }
    }
    return MMOE_OK;
}
