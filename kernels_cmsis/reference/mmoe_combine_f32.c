/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_private.h"

void mmoe_combine_f32(const float *sum, const float *outputs, uint32_t stride, const float *gate, uint32_t count, uint32_t n,
                      float *x) {
    for (uint32_t i = 0; i < n; i++) {
        float o = mmoe_scalar(sum[i]);
        for (uint32_t k = 0; k < count; k++) o = o + gate[k] * outputs[k * stride + i];
        x[i] = x[i] + o;
    }
}
