/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_private.h"

mmoe_status mmoe_rmsnorm_s8(const float *x, const float *w, uint32_t n, float eps, float *y, mmoe_vector *q) {
    mmoe_rmsnorm_f32(x, w, n, eps, y);
    return mmoe_quantize_s8(y, n, q);
}
