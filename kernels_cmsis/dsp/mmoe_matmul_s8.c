/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_matmul.h"

#ifdef MMOE_TILES

#define COLUMNS_4(word, step)         \
    "sxtb16 r7, " word "\n"           \
    "sxtb16 " word ", " word ", ror #8\n" step(word)
#define COLUMNS_8(next, step)         \
    "ldrd r6, r8, [r0], #" next "\n"  \
    COLUMNS_4("r6", step) COLUMNS_4("r8", step)
#define TILES(scale_vectors, step)    \
    MMOE_TILES_BEGIN                  \
    "mov r9, r6\n" /* the input's end */ \
    "0:\n"                            \
    "movs r2, #0\n"                   \
    "mov r10, r2\n"                   \
    "mov r11, r2\n"                   \
    "mov r12, r2\n"                   \
    "mov lr, r2\n"                    \
    "1:\n"                            \
    COLUMNS_8("8", step)              \
    COLUMNS_8("56", step)             \
    "cmp r1, r9\n"                    \
    "bne 1b\n"                        \
    "push {r10-r12, lr}\n"            \
    MMOE_ROW_NEXT("0b")               \
    MMOE_TILE_NEXT(scale_vectors, "2f") \
    MMOE_TILES_END                    \
    "2:\n"                            \
    "ldr r9, [sp, #12]\n"             \
    "b 0b\n"

static MMOE_NAKED void tiles_of_2(MMOE_UNUSED mmoe_tiles *tiles) { __asm__(TILES(MMOE_SCALE_2, MMOE_NEXT_2)); }
static MMOE_NAKED void tiles_of_4(MMOE_UNUSED mmoe_tiles *tiles) { __asm__(TILES(MMOE_SCALE_4, MMOE_NEXT_4)); }

void mmoe_tiles_s8(mmoe_tiles *tiles, uint32_t vectors) {
    if (vectors == 2)
        tiles_of_2(tiles);
    else
        tiles_of_4(tiles);
}

void mmoe_matmul_s8(const mmoe_matrix *w, const mmoe_vector *const *x, float *const *y, uint32_t count, void *scratch) {
    const uint32_t columns = MMOE_PAD(w->columns, 16u);
    mmoe_multiply(w, x, y, count & ~1u, 8, columns, scratch);
    if (count == 3) mmoe_matvec_s8(w, x[2], y[2]);
}

#else
#include "../reference/mmoe_matmul_s8.c"
#endif
