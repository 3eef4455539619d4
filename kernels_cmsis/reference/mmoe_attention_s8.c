/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_attention.h"

mmoe_status mmoe_attention_s8(const mmoe_attention *a, float *qkv, void *kv, uint32_t position, float *out, void *scratch) {
    return mmoe_attend_layer(a, qkv, kv, position, out, scratch, 0, a->kv_heads, 0);
}
