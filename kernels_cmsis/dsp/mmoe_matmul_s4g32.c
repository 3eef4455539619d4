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

/* Two columns of two rows, at bit `shift` of their words a and b. A nibble with its sign bit turned is 8 larger than it stands
 * for, so that no product with a group scale reaches the upper halfword; 8 times that scale is taken out of both. r6 mask, r7 and
 * r9 group scales of the rows, r8 and r10 8 times these, twice */
#define WIDEN_2(a, b, shift, at)           \
    "and r11,r6," a shift "\n"             \
    "and r12,r6," b shift "\n"             \
    "mul r11,r11,r7\n"                     \
    "mul r12,r12,r9\n"                     \
    "ssub16 r11,r11,r8\n"                  \
    "ssub16 r12,r12,r10\n"                 \
    "strd r11,r12,[r1,#" at "]\n"
#define WIDEN_8(a, b, at0, at1, at2, at3)  \
    "eor " a "," a ",#0x88888888\n"        \
    "eor " b "," b ",#0x88888888\n"        \
    WIDEN_2(a, b, "", at0) WIDEN_2(a, b, ",lsr #8", at1) WIDEN_2(a, b, ",lsr #4", at2) WIDEN_2(a, b, ",lsr #12", at3)

/* Weights times their group scales: what is left to do is as in INT8. Two rows after two others. lr: group scales */
static MMOE_NAKED void widen(MMOE_UNUSED const void *weights, MMOE_UNUSED uint32_t tile_bytes, MMOE_UNUSED uint32_t *to,
                             MMOE_UNUSED const uint8_t *group_scales) {
    __asm__("push {r4-r11, lr}\n"
            "add r1, r0, r1\n"
            "push {r1}\n"
            "mov r1, r2\n"
            "mov lr, r3\n"
            "mov r6, #0x000F000F\n"
            "1:\n"
            "ldrb r7, [lr], #1\n"
            "ldrb r9, [lr], #1\n"
            "add r8, r7, r7, lsl #16\n"
            "add r10, r9, r9, lsl #16\n"
            "lsls r8, r8, #3\n"
            "lsl r10, r10, #3\n"
            "ldrd r2, r3, [r0]\n"
            "ldrd r4, r5, [r0, #16]\n" WIDEN_8("r2", "r4", "0", "16", "32", "48") WIDEN_8("r3", "r5", "64", "80", "96", "112")
            "ldrd r2, r3, [r0, #8]\n"
            "ldrd r4, r5, [r0, #24]\n" WIDEN_8("r2", "r4", "128", "144", "160", "176") WIDEN_8("r3", "r5", "192", "208", "224", "240")
            "adds r0, r0, #32\n"
            "tst lr, #2\n" /* aligned: two rows are left */
            "ite ne\n"
            "addne r1, r1, #8\n"
            "addeq r1, r1, #248\n"
            "ldr r2, [sp]\n"
            "cmp r0, r2\n"
            "bne 1b\n"
            "add sp, sp, #4\n"
            "pop {r4-r11, pc}\n");
}

static void matmul_part(const mmoe_matrix *w, const mmoe_vector *const *x, float *const *y, uint32_t count, void *scratch) {
    mmoe_multiply(w, x, y, count & ~1u, 4, MMOE_PAD(w->columns, 32u), scratch);
    if (count == 3) mmoe_matvec_s4g32(w, x[2], y[2]);
}

void mmoe_matmul_s4g32(const mmoe_matrix *w, const mmoe_vector *const *x, float *const *y, uint32_t count, void *scratch) {
    if (count < 7 || count == 8) /* what a wide tile costs is more than what it saves */
        mmoe_matmul_in_parts(matmul_part, w, x, y, count, scratch);
    else
        mmoe_multiply_many(w, x, y, count, 4, MMOE_PAD(w->columns, 32u), widen, scratch);
}

#else
#include "../reference/mmoe_matmul_s4g32.c"
#endif
