/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MMOE_MATMUL_H
#define MMOE_MATMUL_H

#include "mmoe_x86.h"

/* Compiled once for each number of vectors, so that their sums stay in registers. */
#define MMOE_EACH_COUNT static inline __attribute__((always_inline))
#define MMOE_CALL_COUNT(function, count, ...) \
    ((count) == 2 ? function(__VA_ARGS__, 2) : (count) == 3 ? function(__VA_ARGS__, 3) : function(__VA_ARGS__, 4))

/* Sums of a tile to y, of which `rest` rows are left. */
static inline void mmoe_store_tile(__m128i sums, float *y, uint32_t rest) { memcpy(y, &sums, (rest < 4 ? rest : 4) * sizeof *y); }

#endif
