/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_private.h"

void mmoe_matvec_s8(const mmoe_matrix *w, const mmoe_vector *x, float *y) {
    const uint32_t blocks = MMOE_PAD(w->columns, 16u) / 16, whole = w->rows & ~3u, rest = w->rows & 3;
    mmoe_word *sums = (mmoe_word *)(void *)y, last[4];
    if (whole) {
        mmoe_sums_s8(&(mmoe_sums){w->weights, NULL, x + 1, blocks, 0, sums, whole / 4});
        mmoe_scale_sums(sums, whole, x->scale, w->row_scales);
    }
    if (rest) {
        const uint8_t *weights = (const uint8_t *)w->weights + whole * 16 * blocks;
        mmoe_sums_s8(&(mmoe_sums){weights, NULL, x + 1, blocks, 0, last, 1});
        mmoe_scale_sums(last, rest, x->scale, w->row_scales + whole);
        memcpy(y + whole, last, rest * sizeof *y);
    }
}
