/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_exp.h"

#if defined(__ARM_FP) && (__ARM_FP & 4)

void mmoe_sigmoid_f32(float *x, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) x[i] = 1.0f / (1.0f + mmoe_exp_inline(mmoe_scalar(-x[i])));
}

#else
#include "../reference/mmoe_sigmoid_f32.c"
#endif
