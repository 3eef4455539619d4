/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_private.h"

/* The best so far come first in key, the best of them first. As integers, keys order as the floats do. */
void mmoe_choose_f32(const float *score, const float *bias, uint32_t experts, uint32_t top_k, uint8_t *expert, int32_t *key) {
    uint8_t best[16];
    uint32_t count = 0;
    for (uint32_t e = 0; e < experts; e++) {
        const int32_t bits = (mmoe_word){.f = score[e] + bias[e]}.i, value = bits ^ (bits >> 31 & 0x7FFFFFFF);
        if (count == top_k && value <= key[count - 1]) continue;
        uint32_t place = count < top_k ? count++ : count - 1;
        for (; place && value > key[place - 1]; place--) key[place] = key[place - 1], best[place] = best[place - 1];
        key[place] = value, best[place] = (uint8_t)e;
    }
    for (uint32_t k = 0; k < top_k; k++) { /* into rising order */
        uint32_t place = k;
        for (; place && best[k] < expert[place - 1]; place--) expert[place] = expert[place - 1];
        expert[place] = best[k];
    }
}
