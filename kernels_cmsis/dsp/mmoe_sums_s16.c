/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_dsp.h"

/* INT8 inputs are int16 already. */
void mmoe_sums_s16(const mmoe_sums *sums) { mmoe_sums_s8(sums); }
