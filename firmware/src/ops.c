/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "mmoe_internal.h"

mmoe_status mmoe_op_embed(mmoe_runtime *rt, const mmoe_matrix *w, float *x) {
    for (uint32_t row = 0; row < rt->rows; row++) mmoe_embed_s8(w, rt->tokens[row], x + row * w->columns);
    return MMOE_OK;
}

mmoe_status mmoe_op_window(mmoe_runtime *rt, const float *mean, const float *gain, uint32_t channels, float *u, mmoe_vector *q) {
    const uint32_t n = rt->model->window;
    mmoe_status status = MMOE_OK;
    mmoe_normalize_f32(rt->model->windows, mean, gain, channels, rt->rows * n, u);
    for (uint32_t row = 0; row < rt->rows && status == MMOE_OK; row++)
        status = mmoe_quantize_s8(u + row * n, n, mmoe_vector_row(q, n, row));
    return status;
}

mmoe_status mmoe_op_rmsnorm(mmoe_runtime *rt, const float *x, const float *w, uint32_t n, float eps, float *y, mmoe_vector *q) {
    for (uint32_t row = 0; row < rt->rows; row++) {
        const mmoe_status status = mmoe_rmsnorm_s8(x + row * n, w, n, eps, y + row * n, mmoe_vector_row(q, n, row));
        if (status != MMOE_OK) return status;
    }
    return MMOE_OK;
}

/* y = W x of the first `rows` tokens, `stride` floats apart */
static void multiply_rows(const mmoe_runtime *rt, uint32_t rows, const mmoe_matrix *w, const mmoe_vector *x, float *y, uint32_t stride,
                          void *scratch) {
    const uint32_t pointers = 8 * MMOE_MIN(rt->model->chunk, MMOE_BATCH); /* bytes for those of a batch, 8 each */
    const mmoe_vector **const in = scratch;
    float **const out = (float **)(void *)((uint8_t *)scratch + pointers);
    void *const matmul = (uint8_t *)scratch + 2 * pointers;
    for (uint32_t row = 0, count; row < rows; row += count) {
        count = mmoe_next_batch(rows - row, MMOE_BATCH);
        for (uint32_t i = 0; i < count; i++) {
            in[i] = mmoe_const_vector_row(x, w->columns, row + i);
            out[i] = y + (row + i) * stride;
        }
        mmoe_matmul(w, in, out, count, matmul);
    }
}

mmoe_status mmoe_op_linear(mmoe_runtime *rt, const mmoe_matrix *w, const mmoe_vector *x, float *y, void *scratch) {
    if (rt->rows == 1)
        mmoe_matvec(w, x, y);
    else
        multiply_rows(rt, rt->rows, w, x, y, w->rows, scratch);
    return MMOE_OK;
}

mmoe_status mmoe_op_linear_last(mmoe_runtime *rt, const mmoe_matrix *w, uint32_t from, const mmoe_vector *x, float *y, void *scratch) {
    const uint32_t last = rt->rows - 1, row = from / MMOE_ROWS * MMOE_ROWS;
    if (last) {
        const mmoe_matrix part = mmoe_matrix_rows(w, row, w->rows - row);
        multiply_rows(rt, last, &part, x, y + row, w->rows, scratch);
    }
    mmoe_matvec(w, mmoe_const_vector_row(x, w->columns, last), y + last * w->rows);
    return MMOE_OK;
}

mmoe_status mmoe_op_linear_add(mmoe_runtime *rt, const mmoe_matrix *w, const mmoe_vector *x, float *y, float *sum, void *scratch) {
    const mmoe_status status = mmoe_op_linear(rt, w, x, y, scratch);
    if (status == MMOE_OK) mmoe_add_f32(y, rt->rows * w->rows, sum);
    return status;
}

mmoe_status mmoe_op_bias(mmoe_runtime *rt, const float *b, uint32_t n, float *y) {
    for (uint32_t row = 0; row < rt->rows; row++) mmoe_add_f32(b, n, y + row * n);
    return MMOE_OK;
}

mmoe_status mmoe_op_norm_parts(mmoe_runtime *rt, float *x, uint32_t stride, uint32_t offset, uint32_t count, uint32_t n,
                               const float *w, float eps) {
    for (uint32_t row = 0; row < rt->rows; row++, x += stride)
        for (uint32_t part = 0; part < count; part++) {
            float *y = x + offset + part * n;
            mmoe_rmsnorm_f32(y, w, n, eps, y);
        }
    return MMOE_OK;
}

mmoe_status mmoe_op_attention(mmoe_runtime *rt, const mmoe_attention *a, uint16_t layer, float *qkv, mmoe_vector *q) {
    const uint32_t width = (uint32_t)a->heads * a->head_dim, stride = width + 2u * a->kv_heads * a->head_dim;
    uint8_t *const kv = rt->kv + layer * rt->model->kv_bytes;
    mmoe_status status = MMOE_OK;
    for (uint32_t row = 0; row < rt->rows && status == MMOE_OK; row++)
        status = mmoe_attention_s8(a, qkv + row * stride, kv, rt->position + row, qkv + row * stride, q);
    for (uint32_t row = 0; row < rt->rows && status == MMOE_OK; row++)
        status = mmoe_quantize_s8(qkv + row * stride, width, mmoe_vector_row(q, width, row));
    return status;
}

mmoe_status mmoe_op_attention_last(mmoe_runtime *rt, const mmoe_attention *a, uint16_t layer, float *qkv, mmoe_vector *q, float *x,
                                   uint32_t n) {
    const uint32_t width = (uint32_t)a->heads * a->head_dim, stride = width + 2u * a->kv_heads * a->head_dim, last = rt->rows - 1;
    uint8_t *const kv = rt->kv + layer * rt->model->kv_bytes;
    for (uint32_t row = 0; row < last; row++) {
        const mmoe_status status = mmoe_cache_s8(a, qkv + row * stride, kv, rt->position + row, q);
        if (status != MMOE_OK) return status;
    }
    float *const heads = qkv + last * stride;
    const mmoe_status status = mmoe_attention_s8(a, heads, kv, rt->position + last, heads, q);
    if (status != MMOE_OK) return status;
    if (last) memcpy(x, x + last * n, n * sizeof *x);
    rt->rows = 1;
    return mmoe_quantize_s8(heads, width, q);
}

mmoe_status mmoe_op_pool(mmoe_runtime *rt, const float *x, uint32_t n, float *mean) {
    const float *before = rt->model->pool + rt->pool_side * n;
    float *sum = rt->model->pool + (1u - rt->pool_side) * n; /* they count when the pass has not failed */
    if (rt->position)
        memcpy(sum, before, n * sizeof *sum);
    else
        memset(sum, 0, n * sizeof *sum);
    for (uint32_t row = 0; row < rt->rows; row++) mmoe_add_f32(x + row * n, n, sum);
    memset(mean, 0, n * sizeof *mean);
    mmoe_accumulate_f32(sum, 1.0f / (float)(int32_t)(rt->position + rt->rows), n, mean);
    rt->rows = 1;
    return MMOE_OK;
}
