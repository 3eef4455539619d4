/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_matmul.h"

#define COLUMNS_4(word, step)         \
    "sxtb16 r7, " word "\n"           \
    "sxtb16 r8, " word ", ror #8\n" step
#define COLUMNS_16(step)                                                             \
    "ldrd r6, r9, [r0], #8\n" COLUMNS_4("r6", step) COLUMNS_4("r9", step)            \
    "ldrd r6, r9, [r0], #56\n" COLUMNS_4("r6", step) COLUMNS_4("r9", step)
#define ROWS(shift, step)                                                            \
    MMOE_ROWS_BEGIN(shift)                                                           \
    "0:\n"                                                                           \
    "movs r2, #0\n"                                                                  \
    "mov r10, r2\n"                                                                  \
    "mov r11, r2\n"                                                                  \
    "mov r12, r2\n"                                                                  \
    "mov lr, r2\n"                                                                   \
    "1:\n"                                                                           \
    COLUMNS_16(step)                                                                 \
    "ldr r2, [sp, #20]\n"                                                            \
    "cmp r1, r2\n"                                                                   \
    "bne 1b\n"                                                                       \
    "ldmia sp, {r4-r7}\n"                                                            \
    "str r12, [r6], #4\n"                                                            \
    "str lr, [r7], #4\n"                                                             \
    "str r10, [r4], #4\n"                                                            \
    "str r11, [r5], #4\n"                                                            \
    "stmia sp, {r4-r7}\n"                                                            \
    MMOE_ROWS_NEXT                                                                   \
    "b 0b\n"                                                                         \
    MMOE_ROWS_END

static MMOE_NAKED void sums_of_2(MMOE_UNUSED const mmoe_rows *rows) { __asm__(ROWS("0", MMOE_NEXT_2)); }
static MMOE_NAKED void sums_of_4(MMOE_UNUSED const mmoe_rows *rows) { __asm__(ROWS("1", MMOE_NEXT_4)); }

void mmoe_matmul_s8(const mmoe_matrix *w, const mmoe_vector *const *x, float *const *y, uint32_t count, void *scratch) {
    mmoe_rows rows = mmoe_begin_rows(w, x, y, count, scratch, MMOE_PAD(w->columns, 16u));
    rows.blocks = MMOE_PAD(w->columns, 16u) / 16;
    if (count == 2)
        sums_of_2(&rows);
    else
        sums_of_4(&rows);
    for (uint32_t i = 0; i < count; i++) mmoe_scale_sums((mmoe_word *)(void *)y[i], w->rows, x[i]->scale, w->row_scales);
}
