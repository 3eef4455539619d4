/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_private.h"

void mmoe_accumulate_f32(const float *x, float gate, uint32_t n, float *y) {
    for (uint32_t i = 0; i < n; i++) y[i] = mmoe_scalar(y[i] + gate * x[i]);
}
