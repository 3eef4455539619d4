/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_private.h"

void mmoe_matvec_s8(const mmoe_matrix *w, const mmoe_vector *x, float *y) {
    const int8_t *weights = w->weights;
    const int8_t *input = mmoe_vector_const_s8(x);
    uint32_t padded = MMOE_PAD(w->columns, 16u);
    for (uint32_t row = 0; row < w->rows; row++) {
        const int8_t *p = weights + row / MMOE_ROWS * MMOE_ROWS * padded + row % MMOE_ROWS * 16;
        int32_t sum = 0;
        for (uint32_t column = 0; column < padded; column += 16, p += MMOE_ROWS * 16) {
            for (uint32_t i = 0; i < 16; i += 4) {
                sum += p[i] * input[column + i];
                sum += p[i + 1] * input[column + i + 1];
                sum += p[i + 2] * input[column + i + 2];
                sum += p[i + 3] * input[column + i + 3];
            }
        }
        y[row] = (float)sum * mmoe_scalar(x->scale * w->row_scales[row]);
    }
}
