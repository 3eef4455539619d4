/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_private.h"

/* Four packed bytes of a row: 8 columns. Words are little-endian and lie at multiples of 4. */
static inline uint32_t load_word(const uint8_t *p) {
    uint32_t word;
    __builtin_memcpy(&word, __builtin_assume_aligned(p, 4), sizeof word);
    return word;
}

/* The nibble at `bit` as a signed number; one SBFX on Armv7-M */
#define NIBBLE(word, bit) ((int32_t)((word) << (28 - (bit))) >> 28)

#define COLUMN(i, bit)                  \
    {                                   \
        const int32_t input = x[i];     \
        s0 += NIBBLE(w0, bit) * input;  \
        s1 += NIBBLE(w1, bit) * input;  \
        s2 += NIBBLE(w2, bit) * input;  \
        s3 += NIBBLE(w3, bit) * input;  \
    }

void mmoe_sums_s4g32(const mmoe_sums *s) {
    const uint8_t *p = s->weights, *scale = s->group_scales;
    for (uint32_t tile = 0; tile < s->tiles; tile++) {
        const int8_t *x = s->input, *const end = x + MMOE_GROUP * s->blocks;
        mmoe_word *sums = s->sums + 4 * tile;
        for (uint32_t row = 0; row < 4; row++) sums[row].i = 0;
        for (; x < end; p += 48, scale += 4) {
            int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
            for (const int8_t *const group_end = x + MMOE_GROUP; x < group_end; x += 8, p += 4) {
                const uint32_t w0 = load_word(p), w1 = load_word(p + 16), w2 = load_word(p + 32), w3 = load_word(p + 48);
                COLUMN(0, 0) COLUMN(1, 8) COLUMN(2, 16) COLUMN(3, 24)
                COLUMN(4, 4) COLUMN(5, 12) COLUMN(6, 20) COLUMN(7, 28)
            }
            sums[0].i += s0 * scale[0];
            sums[1].i += s1 * scale[1];
            sums[2].i += s2 * scale[2];
            sums[3].i += s3 * scale[3];
        }
    }
}
