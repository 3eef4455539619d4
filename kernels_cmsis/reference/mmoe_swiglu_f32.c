/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_private.h"

void mmoe_swiglu_f32(const float *gate_up, uint32_t n, float *h) {
    for (uint32_t i = 0; i < n; i++) {
        float g = mmoe_scalar(gate_up[i]);
        h[i] = (g / (1.0f + mmoe_exp_f32(-g))) * gate_up[n + i];
    }
}
