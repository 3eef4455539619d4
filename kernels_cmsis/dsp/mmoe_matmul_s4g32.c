/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_matmul.h"

/* Nibbles at the top of their halfwords are signed, 4096 times too large; r9 is their mask. */
#define COLUMNS_8(next, first, step) \
    "ldr r6, [r0], #" next "\n"      \
    "and r7, r9, r6, lsl #12\n"      \
    "and r8, r9, r6, lsl #4\n" first \
    "and r7, r9, r6, lsl #8\n"       \
    "and r8, r9, r6\n" step
/* A group scale at bit 20 times a sum at bit 12 is their product in the high word: SMMLA adds it exactly. */
#define ROWS(shift, first, step)      \
    MMOE_ROWS_BEGIN(shift)            \
    "0:\n"                            \
    "mov r9, #0xF000F000\n"           \
    "movs r2, #0\n"                   \
    "movs r3, #0\n"                   \
    "strd r2, r3, [sp, #40]\n"        \
    "strd r2, r3, [sp, #48]\n"        \
    "1:\n"                            \
    COLUMNS_8("4", first, step)       \
    COLUMNS_8("4", step, step)        \
    COLUMNS_8("4", step, step)        \
    COLUMNS_8("52", step, step)       \
    "ldr r6, [sp, #36]\n"             \
    "add r8, sp, #40\n"               \
    "ldrb r7, [r6], #4\n"             \
    "ldmia r8, {r2-r5}\n"             \
    "str r6, [sp, #36]\n"             \
    "lsl r7, r7, #20\n"               \
    "smmla r2, r7, r10, r2\n"         \
    "smmla r3, r7, r11, r3\n"         \
    "smmla r4, r7, r12, r4\n"         \
    "smmla r5, r7, lr, r5\n"          \
    "stmia r8, {r2-r5}\n"             \
    "ldr r7, [sp, #20]\n"             \
    "cmp r1, r7\n"                    \
    "bne 1b\n"                        \
    "ldmia sp, {r6-r8, r10}\n"        \
    "str r4, [r8], #4\n"              \
    "str r5, [r10], #4\n"             \
    "str r2, [r6], #4\n"              \
    "str r3, [r7], #4\n"              \
    "stmia sp, {r6-r8, r10}\n"        \
    MMOE_ROWS_NEXT                    \
    "ldr r4, [sp, #36]\n"             \
    "sub r4, r4, r2, lsr #4\n"        \
    "add r4, r4, #1\n"                \
    "itt eq\n"                        \
    "subeq r4, r4, #4\n"              \
    "addeq r4, r4, r2, lsr #4\n"      \
    "str r4, [sp, #36]\n"             \
    "b 0b\n"                          \
    MMOE_ROWS_END

static MMOE_NAKED void sums_of_2(MMOE_UNUSED const mmoe_rows *rows) { __asm__(ROWS("1", MMOE_FIRST_2, MMOE_NEXT_2)); }
static MMOE_NAKED void sums_of_4(MMOE_UNUSED const mmoe_rows *rows) { __asm__(ROWS("2", MMOE_FIRST_4, MMOE_NEXT_4)); }

void mmoe_matmul_s4g32(const mmoe_matrix *w, const mmoe_vector *const *x, float *const *y, uint32_t count, void *scratch) {
    mmoe_rows rows = mmoe_begin_rows(w, x, y, count, scratch, MMOE_PAD(w->columns, 32u));
    rows.blocks = MMOE_GROUPS((uint32_t)w->columns);
    if (count == 2)
        sums_of_2(&rows);
    else
        sums_of_4(&rows);
    for (uint32_t i = 0; i < count; i++) mmoe_scale_sums((mmoe_word *)(void *)y[i], w->rows, x[i]->scale, w->row_scales);
}
