/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_private.h"

void mmoe_sigmoid_f32(float *x, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) x[i] = 1.0f / (1.0f + mmoe_exp_f32(mmoe_scalar(-x[i])));
}
