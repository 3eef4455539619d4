/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_private.h"

void mmoe_route_f32(const float *x, uint32_t n, const float *weight, const float *bias, uint32_t experts, uint32_t top_k,
                    float scaling, uint8_t *expert, float *gate, float *scratch) {
    float *score = scratch + experts, sum = 0.0f;
    mmoe_dots_f32(x, weight, n, experts, score);
    mmoe_sigmoid_f32(score, experts);
    mmoe_choose_f32(score, bias, experts, top_k, expert, (int32_t *)(void *)scratch);
    for (uint32_t k = 0; k < top_k; k++) sum += score[expert[k]];
    for (uint32_t k = 0; k < top_k; k++) gate[k] = (score[expert[k]] / sum) * scaling;
}
