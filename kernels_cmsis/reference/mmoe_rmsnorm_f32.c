/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_private.h"

void mmoe_rmsnorm_f32(const float *x, const float *w, uint32_t n, float eps, float *y) {
    float r = mmoe_rms_f32(x, n, eps);
    if (w)
        for (uint32_t i = 0; i < n; i++) y[i] = mmoe_scalar(x[i] * r) * w[i];
    else
        for (uint32_t i = 0; i < n; i++) y[i] = mmoe_scalar(x[i] * r);
}
