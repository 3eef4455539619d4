/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_lanes.h"

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
    for (; n >= 16; n -= 16, x += 16, q += 16) {
        mmoe_s32x4 v[4];
        for (uint32_t i = 0; i < 4; i++) v[i] = mmoe_rint4(mmoe_load4(x + 4 * i) * inverse);
        mmoe_narrow16(v, q);
    }
    for (uint32_t i = 0; i < n; i++) q[i] = (int8_t)mmoe_rint(x[i] * inverse);
    return MMOE_OK;
}
