/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_private.h"

/* A nibble of byte b as a signed number times 16. */
#define LOW16(b) ((int8_t)(uint8_t)((b) << 4))
#define HIGH16(b) ((int8_t)((b) & 0xF0))

void mmoe_matvec_s4g32(const mmoe_matrix *w, const mmoe_vector *x, float *y) {
    const uint8_t *weights = w->weights;
    const int8_t *input = mmoe_vector_const_s8(x);
    uint32_t groups = MMOE_GROUPS((uint32_t)w->columns);
    for (uint32_t row = 0; row < w->rows; row++) {
        const uint8_t *p = weights + row / MMOE_ROWS * MMOE_ROWS * groups * 16 + row % MMOE_ROWS * 16;
        const uint8_t *scale = w->group_scales + row / MMOE_ROWS * MMOE_ROWS * groups + row % MMOE_ROWS;
        int32_t sum = 0;
        for (uint32_t group = 0; group < groups; group++, p += MMOE_ROWS * 16, scale += MMOE_ROWS) {
            const int8_t *in = input + group * MMOE_GROUP;
            int32_t part = 0; /* times 16 */
            for (uint32_t i = 0; i < 16; i += 4, in += 8) {
                part += LOW16(p[i]) * in[0] + HIGH16(p[i]) * in[4];
                part += LOW16(p[i + 1]) * in[1] + HIGH16(p[i + 1]) * in[5];
                part += LOW16(p[i + 2]) * in[2] + HIGH16(p[i + 2]) * in[6];
                part += LOW16(p[i + 3]) * in[3] + HIGH16(p[i + 3]) * in[7];
            }
            sum += part / 16 * *scale;
        }
        y[row] = (float)sum * mmoe_scalar(x->scale * w->row_scales[row]);
    }
}
