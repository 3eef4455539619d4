/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_private.h"

uint32_t mmoe_argmax_f32(const float *x, uint32_t n) {
    uint32_t best = 0;
    for (uint32_t i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return best;
}
