/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_private.h"

void mmoe_add_f32(const float *x, uint32_t n, float *y) {
    for (uint32_t i = 0; i < n; i++) y[i] = mmoe_scalar(y[i] + x[i]);
}
