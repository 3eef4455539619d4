/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MMOE_DSP_H
#define MMOE_DSP_H

#include "../reference/mmoe_private.h"

#define MMOE_UNUSED __attribute__((unused))
/* A function whose whole body is assembly: the loops need every register. Their argument is an mmoe_sums:
 * 0 weights, 4 group scales, 8 input, 12 blocks, 16 skip, 20 sums, 24 tiles. */
#define MMOE_NAKED __attribute__((naked, noinline))

/* Clobbers of the loops that load and store floats eight at a time */
#define MMOE_S0_S15 "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "s12", "s13", "s14", "s15"

/* Behind the header of an activation vector, in a query and in the result of the softmax: int16 in the order that SXTB16
 * gives, so that words of activations meet words of weights. Elements c..c+3 are the words (c, c+2) and (c+1, c+3). */

#endif
