/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_exp.h"

#if defined(__ARM_FP) && (__ARM_FP & 4)

void mmoe_swiglu_f32(const float *gate_up, uint32_t n, float *h) {
    const float *up = gate_up + n;
    for (uint32_t i = 0; i < n; i++) {
        const float g = mmoe_scalar(gate_up[i]);
        h[i] = (g / (1.0f + mmoe_exp_inline(-g))) * up[i];
    }
}

#else
#include "../reference/mmoe_swiglu_f32.c"
#endif
