/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_private.h"

mmoe_status mmoe_quantize_s8(const float *x, uint32_t n, mmoe_vector *vector) {
    int8_t *q = mmoe_vector_s8(vector);
    memset(q + n, 0, MMOE_PAD(n, 32) - n);
    return mmoe_quantize_row_s8(x, n, q, &vector->scale);
}
