/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_private.h"

/* A nibble of byte b as a signed number times 16 */
#define LOW16(b) ((int8_t)(uint8_t)((b) << 4))
#define HIGH16(b) ((int8_t)((b) & 0xF0))

void mmoe_sums_s4g32(const mmoe_sums *s) {
    const uint8_t *p = s->weights, *scale = s->group_scales;
    for (uint32_t tile = 0; tile < s->tiles; tile++) {
        const int8_t *input = s->input;
        mmoe_word *sums = s->sums + 4 * tile;
        for (uint32_t row = 0; row < 4; row++) sums[row].i = 0;
        for (uint32_t group = 0; group < s->blocks; group++, input += MMOE_GROUP) {
            for (uint32_t row = 0; row < 4; row++) {
                int32_t part = 0; /* times 16 */
                for (const int8_t *x = input; x < input + MMOE_GROUP; x += 8, p += 4) {
                    part += LOW16(p[0]) * x[0] + HIGH16(p[0]) * x[4];
                    part += LOW16(p[1]) * x[1] + HIGH16(p[1]) * x[5];
                    part += LOW16(p[2]) * x[2] + HIGH16(p[2]) * x[6];
                    part += LOW16(p[3]) * x[3] + HIGH16(p[3]) * x[7];
                }
                sums[row].i += part / 16 * *scale++;
            }
        }
    }
}
