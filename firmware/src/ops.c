/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "mmoe_internal.h"

mmoe_status mmoe_op_embed(mmoe_runtime *rt, const mmoe_matrix *w, float *x) {
    for (uint32_t row = 0; row < rt->rows; row++) mmoe_embed_s8(w, rt->tokens[row], x + row * w->columns);
    return MMOE_OK;
}

mmoe_status mmoe_op_rmsnorm(mmoe_runtime *rt, const float *x, const float *w, uint32_t n, float eps, float *y, mmoe_vector *q) {
    for (uint32_t row = 0; row < rt->rows; row++) {
        const mmoe_status status = mmoe_rmsnorm_s8(x + row * n, w, n, eps, y + row * n, mmoe_vector_row(q, n, row));
        if (status != MMOE_OK) return status;
    }
    return MMOE_OK;
}

mmoe_status mmoe_op_linear(mmoe_runtime *rt, const mmoe_matrix *w, const mmoe_vector *x, float *y, void *scratch) {
    if (rt->rows == 1) {
        mmoe_matvec(w, x, y);
        return MMOE_OK;
    }
    for (uint32_t row = 0, count; row < rt->rows; row += count) {
        const mmoe_vector *in[MMOE_BATCH];
        float *out[MMOE_BATCH];
        for (count = 0; count < MMOE_BATCH && row + count < rt->rows; count++) {
            in[count] = mmoe_const_vector_row(x, w->columns, row + count);
            out[count] = y + (row + count) * w->rows;
        }
        mmoe_matmul(w, in, out, count, scratch);
    }
    return MMOE_OK;
}

mmoe_status mmoe_op_linear_add(mmoe_runtime *rt, const mmoe_matrix *w, const mmoe_vector *x, float *y, float *sum, void *scratch) {
    const mmoe_status status = mmoe_op_linear(rt, w, x, y, scratch);
    if (status == MMOE_OK) mmoe_add_f32(y, rt->rows * w->rows, sum);
    return status;
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

mmoe_status mmoe_op_last(mmoe_runtime *rt, float *x, uint32_t n) {
    if (rt->rows > 1) memcpy(x, x + (rt->rows - 1) * n, n * sizeof *x);
    rt->rows = 1;
    return MMOE_OK;
}
