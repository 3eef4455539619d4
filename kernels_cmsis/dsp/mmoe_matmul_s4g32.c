/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_matmul.h"

#ifdef MMOE_TILES

/* Nibbles at the top of their halfwords are signed, 4096 times too large; r9 is their mask. */
#define COLUMNS_8(next, first, step) \
    "ldr r6, [r0], #" next "\n"      \
    "and r7, r9, r6, lsl #12\n"      \
    "and r8, r9, r6, lsl #4\n" first("r8") \
    "and r7, r9, r6, lsl #8\n"       \
    "and r8, r9, r6\n" step("r8")
/* A group scale at bit 20 times a sum at bit 12 is their product in the high word: SMMLA adds it exactly. */
#define TILES(scale_vectors, first, step) \
    MMOE_TILES_BEGIN                  \
    "mov r9, #0xF000F000\n"           \
    "0:\n"                            \
    "movs r2, #0\n"                   \
    "movs r3, #0\n"                   \
    "movs r4, #0\n"                   \
    "movs r5, #0\n"                   \
    "push {r2-r5}\n"                  \
    "1:\n"                            \
    COLUMNS_8("4", first, step)       \
    COLUMNS_8("4", step, step)        \
    COLUMNS_8("4", step, step)        \
    COLUMNS_8("52", step, step)       \
    "ldr r6, [sp, #72]\n"             \
    "ldmia sp, {r2-r5}\n"             \
    "ldrb r7, [r6], #4\n"             \
    "str r6, [sp, #72]\n"             \
    "lsl r7, r7, #20\n"               \
    "ldr r8, [sp, #76]\n"             \
    "smmla r2, r7, r10, r2\n"         \
    "smmla r3, r7, r11, r3\n"         \
    "smmla r4, r7, r12, r4\n"         \
    "smmla r5, r7, lr, r5\n"          \
    "cmp r1, r8\n"                    \
    "stmia sp, {r2-r5}\n"             \
    "bne 1b\n"                        \
    MMOE_ROW_NEXT("0b")               \
    MMOE_TILE_NEXT(scale_vectors, "2f") \
    MMOE_TILES_END                    \
    "2:\n"                            \
    "mov r9, #0xF000F000\n"           \
    "b 0b\n"

static MMOE_NAKED void tiles_of_2(MMOE_UNUSED mmoe_tiles *tiles) {
    __asm__(TILES(MMOE_SCALE_2, MMOE_FIRST_2, MMOE_NEXT_2));
}
static MMOE_NAKED void tiles_of_4(MMOE_UNUSED mmoe_tiles *tiles) {
    __asm__(TILES(MMOE_SCALE_4, MMOE_FIRST_4, MMOE_NEXT_4));
}

void mmoe_tiles_s4g32(mmoe_tiles *tiles, uint32_t vectors) {
    if (vectors == 2)
        tiles_of_2(tiles);
    else
        tiles_of_4(tiles);
}

void mmoe_matmul_s4g32(const mmoe_matrix *w, const mmoe_vector *const *x, float *const *y, uint32_t count, void *scratch) {
    const uint32_t columns = MMOE_PAD(w->columns, 32u);
    mmoe_multiply(w, x, y, count & ~1u, 4, columns, scratch);
    if (count == 3) mmoe_matvec_s4g32(w, x[2], y[2]);
}

#else
#include "../reference/mmoe_matmul_s4g32.c"
#endif
