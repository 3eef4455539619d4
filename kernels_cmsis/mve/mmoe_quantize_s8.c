/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_round.h"

#if __ARM_FEATURE_MVE & 2
mmoe_status mmoe_quantize_s8(const float *x, uint32_t n, mmoe_vector *vector) {
    return mmoe_round_s8(x, n, mmoe_bits(mmoe_largest_f32(x, n)), vector);
}
#else
#include "../reference/mmoe_quantize_s8.c" /* not that of dsp/, whose vectors are int16 */
#endif
