/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MMOE_COLUMNS_H
#define MMOE_COLUMNS_H

#include "mmoe_private.h"

/* One column of a block of int8 weights at p, four rows 16 bytes apart */
#define MMOE_COLUMN(i)               \
    {                                \
        const int32_t input = x[i];  \
        s0 += p[i] * input;          \
        s1 += p[16 + (i)] * input;   \
        s2 += p[32 + (i)] * input;   \
        s3 += p[48 + (i)] * input;   \
    }

/* The body of mmoe_sums_s8 and mmoe_sums_s16, which differ in their inputs' type alone. Columns are written out in fours:
 * small cores pay dearly for loops, at -Os most. */
#define MMOE_SUM_COLUMNS(input_type)                                                           \
    const int8_t *p = s->weights;                                                              \
    for (uint32_t tile = 0; tile < s->tiles; tile++, p += s->skip) {                           \
        const input_type *x = s->input, *const end = x + 16 * s->blocks;                       \
        int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;                                                \
        for (; x < end; p += 48)                                                               \
            for (const input_type *const block_end = x + 16; x < block_end; x += 4, p += 4) {  \
                MMOE_COLUMN(0) MMOE_COLUMN(1) MMOE_COLUMN(2) MMOE_COLUMN(3)                    \
            }                                                                                  \
        mmoe_word *sums = s->sums + 4 * tile;                                                  \
        sums[0].i = s0, sums[1].i = s1, sums[2].i = s2, sums[3].i = s3;                        \
    }

#endif
