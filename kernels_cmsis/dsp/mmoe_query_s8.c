/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_matmul.h"

/* With an FPU, four heads or two of them lie interleaved; a third, or one alone, is as a vector is. */
mmoe_status mmoe_query_s8(const mmoe_attention *a, float *x, uint32_t position, int8_t *queries, uint32_t head, uint32_t count,
                          float *scale) {
    const uint32_t dim = a->head_dim, bytes = MMOE_QUERY_BYTES(dim);
#ifdef MMOE_TILES
    const uint32_t together = count - (head & ~1u) == 1 ? 1 : count < 4 ? 2 : 4;
    uint32_t *words = (uint32_t *)(void *)(queries + (together == 1 ? head * bytes : head * 8));
    mmoe_turn_head(a, x, position);
    const float m = mmoe_largest_f32(x, dim);
    if (mmoe_bits(m) >= MMOE_LIMIT_BITS) return MMOE_E_NUMERIC;
    *scale = m < MMOE_TINY ? 0.0f : m / 127.0f;
    if (m >= MMOE_TINY) mmoe_round_fours(x, dim, 127.0f / m, words, 8 * together);
    return MMOE_OK;
#else
    (void)count;
    queries += head * bytes;
    if (mmoe_head_s8(a, x, position, queries, scale) != MMOE_OK) return MMOE_E_NUMERIC;
    /* From the end, because the result takes the place of its source. */
    for (uint32_t i = MMOE_PAD(dim, 16u); i >= 4; i -= 4) {
        uint32_t word, low, high;
        memcpy(&word, __builtin_assume_aligned(queries + i - 4, 4), sizeof word);
        __asm__("sxtb16 %0, %1" : "=r"(low) : "r"(word));
        __asm__("sxtb16 %0, %1, ror #8" : "=r"(high) : "r"(word));
        uint32_t *to = (uint32_t *)(void *)(queries + 2 * i - 8);
        to[0] = low;
        to[1] = high;
    }
    return MMOE_OK;
#endif
}
