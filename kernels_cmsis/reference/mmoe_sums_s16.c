/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_columns.h"

void mmoe_sums_s16(const mmoe_sums *s) { MMOE_SUM_COLUMNS(int16_t) }
