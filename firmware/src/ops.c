/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_internal.h"

mmoe_status mmoe_op_embed(const mmoe_matrix *w, uint32_t token, float *x) {
    mmoe_embed_s8(w, token, x);
    return MMOE_OK;
}

mmoe_status mmoe_op_rmsnorm(const float *x, const float *w, uint32_t n, float eps, float *y) {
    mmoe_rmsnorm_f32(x, w, n, eps, y);
    return MMOE_OK;
}

mmoe_status mmoe_op_quantize(const float *x, uint32_t n, mmoe_vector *q) { return mmoe_quantize_s8(x, n, q); }

mmoe_status mmoe_op_linear(const mmoe_matrix *w, const mmoe_vector *x, float *y) {
    mmoe_matvec(w, x, y);
    return MMOE_OK;
}

mmoe_status mmoe_op_attention(mmoe_runtime *rt, const mmoe_attention *a, uint16_t layer, float *qkv, float *out,
                              void *scratch) {
    return mmoe_attention_s8(a, qkv, rt->kv + layer * rt->model->kv_bytes, rt->position, out, scratch);
}

mmoe_status mmoe_op_add(const float *x, uint32_t n, float *y) {
    mmoe_add_f32(x, n, y);
    return MMOE_OK;
}
