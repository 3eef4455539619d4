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
    return mmoe_bits(scale) - 1u >= 0x20800000u - 1u; /* of a number that is not negative */
#else
    (void)scale;
    return 0;
#endif
}

/* Rows of mmoe_matvec from `row` on, a multiple of MMOE_ROWS, tile by tile: what the loops over whole tiles leave. */
static inline void mmoe_rows_by_sums(void (*add_up)(const mmoe_sums *), const mmoe_matrix *w, const mmoe_vector *x, float *y,
                                     uint32_t row) {
    for (uint32_t count; row < w->rows; row += count) {
        count = w->rows - row < MMOE_ROWS ? w->rows - row : MMOE_ROWS;
        const mmoe_matrix tile = mmoe_matrix_rows(w, row, count);
        mmoe_word sums[MMOE_ROWS];
        add_up(&(mmoe_sums){tile.weights, tile.group_scales, x + 1, mmoe_row_blocks(w), 0, sums, 1});
        mmoe_scale_sums(sums, count, x->scale, tile.row_scales);
        memcpy(y + row, sums, count * sizeof *y);
    }
}

#if __ARM_FEATURE_MVE & 2
/* Where MVE rounds a subnormal operand or result to zero it leaves a mark in the FPSCR: IDC or UFC. */
static inline void mmoe_forget_flushes(void) {
    uint32_t flags;
    __asm__ volatile("vmrs %0, fpscr\n"
                     "bic %0, %0, #0x88\n"
                     "vmsr fpscr, %0\n"
                     : "=r"(flags)
                     :
                     : "memory");
}
static inline int mmoe_flushed(void) {
    uint32_t flags;
    __asm__ volatile("vmrs %0, fpscr\n" : "=r"(flags) : : "memory");
    return (flags & 0x88) != 0;
}
#endif

#endif
