/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_private.h"

mmoe_status mmoe_query_s8(const mmoe_attention *a, float *x, uint32_t position, int8_t *queries, uint32_t head, uint32_t count,
                          float *scale) {
    (void)count;
    return mmoe_head_s8(a, x, position, queries + head * MMOE_QUERY_BYTES(a->head_dim), scale);
}
