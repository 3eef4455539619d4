/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MMOE_MATMUL_H
#define MMOE_MATMUL_H

#include "mmoe_neon.h"

/* SMMLA multiplies two rows of eight with two vectors of eight, so that rows and vectors are taken in pairs: their halves of
 * eight bytes in turn. Of three vectors the last one is its own partner. */
static inline int8x16_t mmoe_low_halves(int8x16_t a, int8x16_t b) {
    return vreinterpretq_s8_s64(vzip1q_s64(vreinterpretq_s64_s8(a), vreinterpretq_s64_s8(b)));
}
static inline int8x16_t mmoe_high_halves(int8x16_t a, int8x16_t b) {
    return vreinterpretq_s8_s64(vzip2q_s64(vreinterpretq_s64_s8(a), vreinterpretq_s64_s8(b)));
}

/* Sums of a tile, rows 0 1 and rows 2 3, each with vectors a and b: those of a to y[0], of b to y[1]. count: of rows */
static inline void mmoe_store_pair(int32x4_t rows01, int32x4_t rows23, float *const y[2], uint32_t row, uint32_t count) {
    const int32x4_t sums[2] = {vuzp1q_s32(rows01, rows23), vuzp2q_s32(rows01, rows23)};
    for (uint32_t i = 0; i < 2; i++) memcpy(y[i] + row, &sums[i], (count < 4 ? count : 4) * sizeof **y);
}

#endif
