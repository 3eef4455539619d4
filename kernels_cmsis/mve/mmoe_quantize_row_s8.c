/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_round.h"

#if __ARM_FEATURE_MVE & 2
mmoe_status mmoe_quantize_row_s8(const float *x, uint32_t n, int8_t *q, float *scale) {
    return mmoe_round_row_s8(x, n, mmoe_bits(mmoe_largest_f32(x, n)), q, scale);
}
#else
#include "../reference/mmoe_quantize_row_s8.c"
#endif
