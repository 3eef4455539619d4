/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_private.h"

float mmoe_largest_f32(const float *x, uint32_t n) {
    uint32_t largest = 0; /* magnitudes order as their bits do; infinity and NaN come last */
    for (uint32_t i = 0; i < n; i++) {
        uint32_t bits = mmoe_bits(x[i]) << 1;
        if (bits > largest) largest = bits;
    }
    return mmoe_float(largest >> 1);
}
