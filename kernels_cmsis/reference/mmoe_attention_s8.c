/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_private.h"

static void store_key(int8_t *keys, uint32_t padded, uint32_t position, const int8_t *k) {
    keys += position / 4 * 4 * padded + position % 4 * 16;
    for (uint32_t i = 0; i < padded; i += 16, keys += 64) memcpy(keys, k + i, 16);
}

static void store_value(int8_t *values, uint32_t context, uint32_t dim, uint32_t position, const int8_t *v) {
    const uint32_t tile_bytes = 4 * MMOE_PAD(context, 16u);
    values += position / 16 * 64 + position % 16;
    for (uint32_t i = 0; i < dim; i += 4, values += tile_bytes)
        values[0] = v[i], values[16] = v[i + 1], values[32] = v[i + 2], values[48] = v[i + 3];
}

/* A layer's cache: keys and values of each key/value head; then key scales f32 (kv_heads, context), then value scales.
 * Scratch: z (group, pad(context, 4)), b int16 (group, pad(context, 16)), k and v int8 (pad(head_dim, 16)), queries (group);
 * the sums of one head take the place of the last three. */
mmoe_status mmoe_attention_s8(const mmoe_attention *a, float *qkv, void *kv, uint32_t position, float *out,
                              void *scratch) {
    const uint32_t dim = a->head_dim, context = a->context, group = (uint32_t)a->heads / a->kv_heads;
    const uint32_t positions = position + 1, padded = MMOE_PAD(dim, 16u);
    const uint32_t z_stride = MMOE_PAD(context, 4u), b_stride = MMOE_PAD(context, 16u);
    int8_t *keys = kv;
    float *key_scales = (float *)(void *)(keys + 2 * a->kv_heads * padded * MMOE_PAD(context, 16u));
    float *value_scales = key_scales + a->kv_heads * context;
    mmoe_word *z = scratch;
    int16_t *b = (int16_t *)(void *)(z + group * z_stride);
    int8_t *k = (int8_t *)(void *)(b + group * b_stride), *v = k + padded, *queries = v + padded;
    mmoe_word *sums = (mmoe_word *)(void *)k;
    const float root = 1.0f / mmoe_sqrt_f32((float)(int32_t)dim);

    for (uint32_t head = 0; head < (uint32_t)a->heads + a->kv_heads; head++) {
        float *x = qkv + head * dim;
        mmoe_rotary_f32(x, a->cosine + position * (dim / 2), a->sine + position * (dim / 2), dim);
        if (a->qk_norm) mmoe_rmsnorm_f32(x, NULL, dim, a->eps, x);
    }
    for (uint32_t g = 0; g < a->kv_heads; g++) {
        int8_t *values = keys + MMOE_KEY_BYTES(context, dim);
        const float *query = qkv + g * group * dim, *key = qkv + (a->heads + g) * dim, *value = key + a->kv_heads * dim;
        if (dim != padded) memset(k, 0, 2 * padded + group * MMOE_QUERY_BYTES(dim));
        if (mmoe_quantize_row_s8(key, dim, k, &key_scales[position]) != MMOE_OK) return MMOE_E_NUMERIC;
        if (mmoe_quantize_row_s8(value, dim, v, &value_scales[position]) != MMOE_OK) return MMOE_E_NUMERIC;
        store_key(keys, padded, position, k);
        store_value(values, context, dim, position, v);
        for (uint32_t h = 0; h < group; h++) {
            int8_t *q = queries + h * MMOE_QUERY_BYTES(dim);
            mmoe_word *scores = z + h * z_stride;
            float query_scale;
            if (mmoe_quantize_row_s8(query + h * dim, dim, q, &query_scale) != MMOE_OK) return MMOE_E_NUMERIC;
            mmoe_query_s8(q, dim);
            mmoe_sums_s8(&(mmoe_sums){keys, NULL, q, padded / 16, 0, scores, (positions + 3) / 4});
            scores[0].f = mmoe_softmax_s16(scores, positions, query_scale * root, key_scales, value_scales, b + h * b_stride);
        }
        for (uint32_t h = 0; h < group; h++, out += dim) {
            const uint32_t blocks = (positions + 15) / 16, skip = 64 * (b_stride / 16 - blocks);
            const float factor = z[h * z_stride].f;
            mmoe_sums_s16(&(mmoe_sums){values, NULL, b + h * b_stride, blocks, skip, sums, (dim + 3) / 4});
            for (uint32_t i = 0; i < dim; i += 2) {
                out[i] = (float)sums[i].i * factor;
                out[i + 1] = (float)sums[i + 1].i * factor;
            }
        }
        keys = values + MMOE_VALUE_BYTES(context, dim);
        key_scales += context, value_scales += context;
    }
    return MMOE_OK;
}
