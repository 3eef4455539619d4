/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_private.h"

float mmoe_rms_f32(const float *x, uint32_t n, float eps) {
    float squares;
    mmoe_dots_f32(x, x, n, 1, &squares);
    return 1.0f / mmoe_sqrt_f32(squares / (float)n + eps);
}
