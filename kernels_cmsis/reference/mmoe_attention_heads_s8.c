/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_attention.h"

mmoe_status mmoe_attention_heads_s8(const mmoe_attention *a, float *qkv, void *kv, uint32_t position, float *out, void *scratch,
                                    uint32_t first, uint32_t end) {
    return mmoe_attend_layer(a, qkv, kv, position, out, scratch, first, end, 0);
}
