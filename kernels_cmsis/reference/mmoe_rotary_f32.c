/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_private.h"

void mmoe_rotary_f32(float *x, const float *cosine, const float *sine, uint32_t head_dim) {
    uint32_t half = head_dim / 2;
    for (uint32_t i = 0; i < half; i++) {
        float a = x[i], b = x[i + half];
        x[i] = mmoe_scalar(a * cosine[i] - b * sine[i]);
        x[i + half] = mmoe_scalar(b * cosine[i] + a * sine[i]);
    }
}
