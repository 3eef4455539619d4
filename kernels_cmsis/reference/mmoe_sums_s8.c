/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_private.h"

void mmoe_sums_s8(const mmoe_sums *s) {
    const int8_t *p = s->weights;
    for (uint32_t tile = 0; tile < s->tiles; tile++, p += s->skip) {
        const int8_t *x = s->input, *end = x + 16 * s->blocks;
        int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
        for (; x < end; p += 48) {
            for (uint32_t i = 0; i < 16; i++, p++) {
                int32_t input = *x++;
                s0 += p[0] * input;
                s1 += p[16] * input;
                s2 += p[32] * input;
                s3 += p[48] * input;
            }
        }
        mmoe_word *sums = s->sums + 4 * tile;
        sums[0].i = s0, sums[1].i = s1, sums[2].i = s2, sums[3].i = s3;
    }
}
