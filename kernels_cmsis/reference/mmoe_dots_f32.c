/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_private.h"

void mmoe_dots_f32(const float *x, const float *w, uint32_t n, uint32_t rows, float *y) {
    for (const float *const end = y + rows; y < end; y++) {
        float l0 = 0.0f, l1 = 0.0f, l2 = 0.0f, l3 = 0.0f;
        uint32_t i = 0;
        for (; i + 4 <= n; i += 4, w += 4) {
            l0 = mmoe_scalar(l0 + mmoe_scalar(x[i] * w[0]));
            l1 = mmoe_scalar(l1 + mmoe_scalar(x[i + 1] * w[1]));
            l2 = mmoe_scalar(l2 + mmoe_scalar(x[i + 2] * w[2]));
            l3 = mmoe_scalar(l3 + mmoe_scalar(x[i + 3] * w[3]));
        }
        if (i < n) l0 = mmoe_scalar(l0 + mmoe_scalar(x[i] * *w++));
        if (i + 1 < n) l1 = mmoe_scalar(l1 + mmoe_scalar(x[i + 1] * *w++));
        if (i + 2 < n) l2 = mmoe_scalar(l2 + mmoe_scalar(x[i + 2] * *w++));
        *y = (l0 + l1) + (l2 + l3);
    }
}
