/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_lanes.h"

void mmoe_swiglu_f32(const float *gate_up, uint32_t n, float *h) {
    uint32_t i = 0;
    for (; i + 4 <= n; i += 4) {
        const mmoe_f32x4 g = mmoe_load4(gate_up + i), up = mmoe_load4(gate_up + n + i);
        mmoe_store4(h + i, (g / (1.0f + mmoe_exp4(-g))) * up);
    }
    for (; i < n; i++) h[i] = (gate_up[i] / (1.0f + mmoe_exp_f32(-gate_up[i]))) * gate_up[n + i];
}
