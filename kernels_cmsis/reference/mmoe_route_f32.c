/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_private.h"

void mmoe_route_f32(const float *x, uint32_t n, const float *weight, const float *bias, uint32_t experts, uint32_t top_k,
                    float scaling, uint8_t *expert, float *gate, float *scratch) {
    float *score = scratch, *biased = scratch + experts;
    uint8_t chosen[32] = {0}; /* one bit an expert */
    for (uint32_t e = 0; e < experts; e++) {
        score[e] = 1.0f / (1.0f + mmoe_exp_f32(-mmoe_dot_f32(x, weight + e * n, n)));
        biased[e] = score[e] + bias[e];
    }
    for (uint32_t k = 0; k < top_k; k++) {
        uint32_t best = experts;
        for (uint32_t e = 0; e < experts; e++) {
            if (chosen[e / 8] >> e % 8 & 1) continue;
            if (best == experts || biased[e] > biased[best]) best = e;
        }
        chosen[best / 8] = (uint8_t)(chosen[best / 8] | 1u << best % 8);
    }
    uint32_t count = 0;
    float sum = 0.0f;
    for (uint32_t e = 0; e < experts; e++) {
        if (!(chosen[e / 8] >> e % 8 & 1)) continue;
        expert[count++] = (uint8_t)e;
        sum += score[e];
    }
    for (uint32_t k = 0; k < top_k; k++) gate[k] = (score[expert[k]] / sum) * scaling;
}
