/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_private.h"

mmoe_status mmoe_head_s8(const mmoe_attention *a, float *x, uint32_t position, int8_t *q, float *scale) {
    mmoe_turn_head(a, x, position);
    return mmoe_quantize_row_s8(x, a->head_dim, q, scale);
}
