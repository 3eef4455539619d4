/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_private.h"

float mmoe_dot_f32(const float *x, const float *y, uint32_t n) {
    float l0 = 0.0f, l1 = 0.0f, l2 = 0.0f, l3 = 0.0f;
    for (; n >= 4; n -= 4, x += 4, y += 4) {
        l0 = mmoe_scalar(l0 + mmoe_scalar(x[0] * y[0]));
        l1 = mmoe_scalar(l1 + mmoe_scalar(x[1] * y[1]));
        l2 = mmoe_scalar(l2 + mmoe_scalar(x[2] * y[2]));
        l3 = mmoe_scalar(l3 + mmoe_scalar(x[3] * y[3]));
    }
    if (n > 0) l0 = mmoe_scalar(l0 + mmoe_scalar(x[0] * y[0]));
    if (n > 1) l1 = mmoe_scalar(l1 + mmoe_scalar(x[1] * y[1]));
    if (n > 2) l2 = mmoe_scalar(l2 + mmoe_scalar(x[2] * y[2]));
    return (l0 + l1) + (l2 + l3);
}
