/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MMOE_MVE_H
#define MMOE_MVE_H

#include <arm_mve.h>

#include "../reference/mmoe_private.h"

#define MMOE_UNUSED __attribute__((unused))
/* A function whose whole body is assembly: the compilers keep too many registers for themselves, and GCC 12 moves
 * accumulators about inside its loops. */
#define MMOE_NAKED __attribute__((naked, noinline))

/* MVE rounds subnormal operands and results to zero. A row scale is 0 or at least 2^-64; with an input scale of 0 or at
 * least 2^-62 their product is normal, and so is its product with an integer: then vectors give the written bits. */
static inline int mmoe_scale_is_safe(float scale) {
#if __ARM_FEATURE_MVE & 2
    return scale >= 0x1.0p-62f || scale == 0.0f;
#else
    (void)scale;
    return 0;
#endif
}

#endif
