/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_internal.h"

uint64_t mmoe_divide(uint64_t n, uint32_t d, uint32_t *rest) {
    uint64_t quotient = 0, left = 0;
    for (int bit = 63; bit >= 0; bit--) {
        left = left << 1 | (n >> bit & 1);
        if (left >= d) {
            left -= d;
            quotient |= (uint64_t)1 << bit;
        }
    }
    *rest = (uint32_t)left;
    return quotient;
}
