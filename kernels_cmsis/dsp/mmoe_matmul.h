/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MMOE_MATMUL_H
#define MMOE_MATMUL_H

#include "mmoe_dsp.h"

/* What the products of two or four vectors take. The vectors lie interleaved: of every four columns, two words of each, so
 * that one pointer and one LDM feed them all. Rows go one by one: the accumulators of four vectors, two words of two vectors
 * and a row's four weights are all that 14 registers hold. */
typedef struct {
    const void *weights;         /* 0 */
    const uint8_t *group_scales; /* 4: INT4 */
    const uint32_t *input;       /* 8 */
    uint32_t blocks;             /* 12: of a row, 64 bytes of a tile each */
    uint32_t rows;               /* 16: at least 1 */
    float *y[4];                 /* 20: sums go here; two vectors: y[2], y[3] are y[0], y[1] */
} mmoe_rows;

/* r0 weights, r1 input, r2..r5 input words of two vectors, r6 weight word, r7 and r8 its halves, r9 free, r10..r12 and lr
 * sums of the vectors. The first products of a sum are SMUAD ones. */
#define MMOE_TWO_FIRST(s, t)     \
    "ldmia r1!, {r2-r5}\n"       \
    "smuad " s ", r7, r2\n"      \
    "smuad " t ", r7, r4\n"      \
    "smlad " s ", r8, r3, " s "\n" \
    "smlad " t ", r8, r5, " t "\n"
#define MMOE_TWO_NEXT(s, t)      \
    "ldmia r1!, {r2-r5}\n"       \
    "smlad " s ", r7, r2, " s "\n" \
    "smlad " t ", r7, r4, " t "\n" \
    "smlad " s ", r8, r3, " s "\n" \
    "smlad " t ", r8, r5, " t "\n"
#define MMOE_FIRST_2 MMOE_TWO_FIRST("r10", "r11")
#define MMOE_NEXT_2 MMOE_TWO_NEXT("r10", "r11")
#define MMOE_FIRST_4 MMOE_FIRST_2 MMOE_TWO_FIRST("r12", "lr")
#define MMOE_NEXT_4 MMOE_NEXT_2 MMOE_TWO_NEXT("r12", "lr")

/* The stack of both loops: 0..12 where the sums go, 16 input, 20 its end, 24 bytes of a tile, 28 row, 32 rows, 36 group scales,
 * 40..52 sums of the groups so far. shift: input bytes of a block are 64 << shift. */
#define MMOE_ROWS_BEGIN(shift)                  \
    "push {r4-r11, lr}\n"                       \
    "sub sp, sp, #24\n"                         \
    "ldr r2, [r0, #4]\n"                        \
    "ldr r3, [r0, #16]\n"                       \
    "strd r3, r2, [sp]\n"                       \
    "ldrd r8, r10, [r0, #8]\n"                  \
    "add r12, r0, #20\n"                        \
    "ldmia r12, {r4-r7}\n"                      \
    "ldr r0, [r0]\n"                            \
    "lsl r10, r10, #6\n"                        \
    "add r9, r8, r10, lsl #" shift "\n"         \
    "movs r11, #0\n"                            \
    "push {r4-r11}\n"                           \
    "mov r1, r8\n"
/* Goes to the next row: 16 bytes on, or at the next tile. r2: bytes of a tile, r3: the row */
#define MMOE_ROWS_NEXT                          \
    "ldrd r2, r3, [sp, #24]\n"                  \
    "ldr r8, [sp, #32]\n"                       \
    "adds r3, r3, #1\n"                         \
    "str r3, [sp, #28]\n"                       \
    "cmp r3, r8\n"                              \
    "beq 9f\n"                                  \
    "ldr r1, [sp, #16]\n"                       \
    "sub r0, r0, r2\n"                          \
    "add r0, r0, #16\n"                         \
    "tst r3, #3\n"                              \
    "itt eq\n"                                  \
    "subeq r0, r0, #64\n"                       \
    "addeq r0, r0, r2\n"
#define MMOE_ROWS_END                           \
    "9:\n"                                      \
    "add sp, sp, #56\n"                         \
    "pop {r4-r11, pc}\n"

typedef struct { uint32_t word[2]; } mmoe_four; /* columns of one vector */

/* Interleaves count vectors of `columns` elements (a multiple of 16) at `scratch`, three as four, and says where sums go. */
static inline mmoe_rows mmoe_begin_rows(const mmoe_matrix *w, const mmoe_vector *const *x, float *const *y, uint32_t count,
                                        void *scratch, uint32_t columns) {
    mmoe_rows rows = {.weights = w->weights, .group_scales = w->group_scales, .input = scratch, .rows = w->rows};
    mmoe_four *to = scratch;
    const mmoe_four *from[4];
    const uint32_t vectors = count == 2 ? 2 : 4;
    for (uint32_t i = 0; i < 4; i++) {
        const uint32_t source = i < count ? i : count == 2 ? i - 2 : count - 1;
        from[i] = (const mmoe_four *)(const void *)(x[source] + 1);
        rows.y[i] = y[source];
    }
    for (uint32_t c = 0; c < columns / 4; c++)
        for (uint32_t i = 0; i < vectors; i++) *to++ = from[i][c];
    return rows;
}

#endif
