/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_private.h"

void mmoe_route_f32(const mmoe_router *router, const float *x, uint32_t n, uint8_t *expert, float *gate, float *scratch) {
    const uint32_t experts = router->experts, top_k = router->top_k;
    float *score = scratch + experts, sum = 0.0f;
    mmoe_dots_f32(x, router->weight, n, experts, score);
    if (router->softmax)
        mmoe_softmax_f32(score, experts);
    else
        mmoe_sigmoid_f32(score, experts);
    mmoe_choose_f32(score, router->bias, experts, top_k, expert, (int32_t *)(void *)scratch);
    for (uint32_t k = 0; k < top_k; k++) sum += score[expert[k]];
    if (router->as_scored) sum = 1.0f; /* a division by 1 is exact */
    for (uint32_t k = 0; k < top_k; k++) gate[k] = (score[expert[k]] / sum) * router->scaling;
}
