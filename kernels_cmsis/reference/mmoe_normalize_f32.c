/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_private.h"

void mmoe_normalize_f32(const float *x, const float *mean, const float *gain, uint32_t channels, uint32_t n, float *y) {
    for (uint32_t i = 0, c = 0; i < n; i++, c = c + 1 == channels ? 0 : c + 1)
        y[i] = mmoe_scalar(mmoe_scalar(x[i]) - mean[c]) * gain[c];
}
