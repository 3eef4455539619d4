/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_columns.h"

void mmoe_sums_s8(const mmoe_sums *s) { MMOE_SUM_COLUMNS(int8_t) }
