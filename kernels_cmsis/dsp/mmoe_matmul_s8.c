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

/* r0 input, r1 weights, r2..r5 input words, r6..r9 words of the four rows, r10..r12 and lr their sums */
#define WIDE_2(x, product, s0, s1, s2, s3) \
    "ldm r1!, {r6-r9}\n"                   \
    product " r10, r6, " x s0 "\n"         \
    product " r11, r7, " x s1 "\n"         \
    product " r12, r8, " x s2 "\n"         \
    product " lr, r9, " x s3 "\n"
#define FIRST_2(x) WIDE_2(x, "smuad", "", "", "", "")
#define NEXT_2(x) WIDE_2(x, "smlad", ", r10", ", r11", ", r12", ", lr")
#define FIRST_8 "ldm r0!, {r2-r5}\n" FIRST_2("r2") NEXT_2("r3") NEXT_2("r4") NEXT_2("r5")
#define NEXT_8(times) ".rept " times "\n" "ldm r0!, {r2-r5}\n" NEXT_2("r2") NEXT_2("r3") NEXT_2("r4") NEXT_2("r5") ".endr\n"
/* All columns at once, or some at a time */
#define STRAIGHT(eights) FIRST_8 NEXT_8(eights " - 1")
#define LOOP(eights)                    \
    "ldm sp, {r10-r12, lr}\n"           \
    "1:\n" NEXT_8(eights)               \
    "ldr r2, [sp, #24]\n"               \
    "cmp r1, r2\n"                      \
    "bne 1b\n"

/* The stack: four zeros; 16 the next item, 20 and 24 the weights' begin and end */
#define MULTIPLY_WIDE(columns)          \
    "push {r4-r11, lr}\n"               \
    "ldmia r0, {r1-r5}\n"               \
    "vldmia r5, {s12-s15}\n" /* row scales */ \
    "mov r0, r3\n"                      \
    "add r5, r1, r2, lsl #3\n"          \
    "mov r3, r4\n"                      \
    "mov r4, r1\n"                      \
    "push {r3-r5}\n"                    \
    "movs r2, #0\n"                     \
    "movs r3, #0\n"                     \
    "movs r4, #0\n"                     \
    "movs r5, #0\n"                     \
    "push {r2-r5}\n"                    \
    "0:\n" columns                      \
    "vmov s0, s1, r10, r11\n"           \
    "vmov s2, s3, r12, lr\n"            \
    "ldr r2, [sp, #16]\n"               \
    "ldmia r2!, {r0, r3, r4}\n"         \
    "str r2, [sp, #16]\n"               \
    "vmov s4, r4\n"                     \
    "vcvt.f32.s32 s0, s0\n"             \
    "vcvt.f32.s32 s1, s1\n"             \
    "vcvt.f32.s32 s2, s2\n"             \
    "vcvt.f32.s32 s3, s3\n"             \
    "vmul.f32 s8, s12, s4\n"            \
    "vmul.f32 s9, s13, s4\n"            \
    "vmul.f32 s10, s14, s4\n"           \
    "vmul.f32 s11, s15, s4\n"           \
    "vmul.f32 s0, s0, s8\n"             \
    "vmul.f32 s1, s1, s9\n"             \
    "vmul.f32 s2, s2, s10\n"            \
    "vmul.f32 s3, s3, s11\n"            \
    "vstmia r3!, {s0-s3}\n"             \
    "str r3, [r2, #-8]\n"               \
    "ldr r1, [sp, #20]\n"               \
    "cmp r0, #0\n"                      \
    "bne 0b\n"                          \
    "add sp, sp, #28\n"                 \
    "pop {r4-r11, pc}\n"

static MMOE_NAKED void multiply_wide_32(MMOE_UNUSED const mmoe_wide_tile *tile) { __asm__(MULTIPLY_WIDE(STRAIGHT("4"))); }
static MMOE_NAKED void multiply_wide_64(MMOE_UNUSED const mmoe_wide_tile *tile) { __asm__(MULTIPLY_WIDE(STRAIGHT("8"))); }
static MMOE_NAKED void multiply_wide_by_16(MMOE_UNUSED const mmoe_wide_tile *tile) { __asm__(MULTIPLY_WIDE(LOOP("2"))); }
static MMOE_NAKED void multiply_wide_by_64(MMOE_UNUSED const mmoe_wide_tile *tile) { __asm__(MULTIPLY_WIDE(LOOP("8"))); }

void mmoe_multiply_wide(const mmoe_wide_tile *tile) {
    if (tile->columns == 32)
        multiply_wide_32(tile);
    else if (tile->columns == 64)
        multiply_wide_64(tile);
    else if (tile->columns % 64)
        multiply_wide_by_16(tile);
    else
        multiply_wide_by_64(tile);
}

/* Four columns of four rows, whose words are in a, b, c and d */
#define WIDEN_4(a, b, c, d)             \
    "sxtb16 r10, " a "\n"               \
    "sxtb16 r11, " b "\n"               \
    "sxtb16 r12, " c "\n"               \
    "sxtb16 lr, " d "\n"                \
    "stmia r1!, {r10-r12, lr}\n"        \
    "sxtb16 " a ", " a ", ror #8\n"     \
    "sxtb16 " b ", " b ", ror #8\n"     \
    "sxtb16 " c ", " c ", ror #8\n"     \
    "sxtb16 " d ", " d ", ror #8\n"     \
    "stmia r1!, {" a ", " b ", " c ", " d "}\n"
#define WIDEN_8(o0, o1, o2, o3)         \
    "ldrd r2, r3, [r0, #" o0 "]\n"      \
    "ldrd r4, r5, [r0, #" o1 "]\n"      \
    "ldrd r6, r7, [r0, #" o2 "]\n"      \
    "ldrd r8, r9, [r0, #" o3 "]\n"      \
    WIDEN_4("r2", "r4", "r6", "r8") WIDEN_4("r3", "r5", "r7", "r9")

static MMOE_NAKED void widen(MMOE_UNUSED const void *weights, MMOE_UNUSED uint32_t tile_bytes, MMOE_UNUSED uint32_t *to,
                             MMOE_UNUSED const uint8_t *group_scales) {
    __asm__("push {r4-r11, lr}\n"
            "add r3, r0, r1\n"
            "push {r3}\n"
            "mov r1, r2\n"
            "1:\n"
            WIDEN_8("0", "16", "32", "48")
            WIDEN_8("8", "24", "40", "56")
            "adds r0, r0, #64\n"
            "ldr r2, [sp]\n"
            "cmp r0, r2\n"
            "bne 1b\n"
            "add sp, sp, #4\n"
            "pop {r4-r11, pc}\n");
}

void mmoe_matmul_s8(const mmoe_matrix *w, const mmoe_vector *const *x, float *const *y, uint32_t count, void *scratch) {
    const uint32_t columns = MMOE_PAD(w->columns, 16u);
    if (count == 2 || count == 4)
        mmoe_multiply(w, x, y, count, 8, columns, scratch);
    else
        mmoe_multiply_many(w, x, y, count, 8, columns, widen, scratch);
}

#else
#include "../reference/mmoe_matmul_s8.c"
#endif
