/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_private.h"

mmoe_status mmoe_quantize_row_s8(const float *x, uint32_t n, int8_t *q, float *scale) {
    const float m = mmoe_largest_f32(x, n);
    if (mmoe_bits(m) >= MMOE_LIMIT_BITS) return MMOE_E_NUMERIC;
    if (m < MMOE_TINY) {
        *scale = 0.0f;
        memset(q, 0, n);
        return MMOE_OK;
    }
    *scale = m / 127.0f;
    const float inverse = 127.0f / m;
    /* |x * inverse| is at most 127 (1 + 2^-23): no clamp is needed. */
    for (uint32_t i = 0; i < n; i++) q[i] = (int8_t)mmoe_rint(x[i] * inverse);
    return MMOE_OK;
}
