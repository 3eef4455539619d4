/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_dsp.h"

void mmoe_query_s8(int8_t *query, uint32_t head_dim) {
    /* From the end, because the result takes the place of its source. */
    for (uint32_t i = MMOE_PAD(head_dim, 16u); i >= 4; i -= 4) {
        uint32_t word, low, high;
        memcpy(&word, __builtin_assume_aligned(query + i - 4, 4), sizeof word);
        __asm__("sxtb16 %0, %1" : "=r"(low) : "r"(word));
        __asm__("sxtb16 %0, %1, ror #8" : "=r"(high) : "r"(word));
        uint32_t *to = (uint32_t *)(void *)(query + 2 * i - 8);
        to[0] = low;
        to[1] = high;
    }
}
