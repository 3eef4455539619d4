/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_dsp.h"

mmoe_status mmoe_quantize_known_s8(const float *x, uint32_t n, float largest, mmoe_vector *q) {
    uint32_t *words = (uint32_t *)(void *)(q + 1), *end = words + MMOE_PAD(n, 32) / 2;
    if (mmoe_bits(largest) >= MMOE_LIMIT_BITS) return MMOE_E_NUMERIC;
    if (largest < MMOE_TINY) {
        q->scale = 0.0f;
        memset(words, 0, 2 * MMOE_PAD(n, 32));
        return MMOE_OK;
    }
    q->scale = largest / 127.0f;
    const float inverse = 127.0f / largest;
#if defined(__ARM_FP) && (__ARM_FP & 4)
    const uint32_t eights = n / 8;
    words = mmoe_round_eights(x, eights, inverse, words);
    x += 8 * eights, n %= 8;
#endif
    mmoe_round_fours(x, n, inverse, words, 8);
    for (words += (n + 3) / 4 * 2; words < end; words++) *words = 0;
    return MMOE_OK;
}

mmoe_status mmoe_quantize_s8(const float *x, uint32_t n, mmoe_vector *q) {
    return mmoe_quantize_known_s8(x, n, mmoe_largest_f32(x, n), q);
}
