/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_private.h"

void mmoe_route_f32(const mmoe_router *router, const float *x, uint32_t n, uint8_t *expert, float *gate, float *scratch) {
    const uint32_t experts = router->experts, top_k = router->top_k;
    float *score = scratch, *biased = scratch + experts;
    uint8_t best[16]; /* the best so far, the best first */
    uint32_t count = 0;
    for (uint32_t e = 0; e < experts; e++) score[e] = mmoe_dot_f32(x, router->weight + e * n, n);
    if (router->softmax)
        mmoe_softmax_f32(score, experts);
    else
        mmoe_sigmoid_f32(score, experts);
    for (uint32_t e = 0; e < experts; e++) {
        const float value = biased[e] = score[e] + router->bias[e];
        if (count == top_k && !(value > biased[best[count - 1]])) continue;
        uint32_t place = count < top_k ? count++ : count - 1;
        for (; place && value > biased[best[place - 1]]; place--) best[place] = best[place - 1];
        best[place] = (uint8_t)e;
    }
    for (uint32_t k = 0; k < top_k; k++) { /* into rising order */
        uint32_t place = k;
        for (; place && best[k] < expert[place - 1]; place--) expert[place] = expert[place - 1];
        expert[place] = best[k];
    }
    float sum = 0.0f;
    for (uint32_t k = 0; k < top_k; k++) sum += score[expert[k]];
    if (router->as_scored) sum = 1.0f; /* a division by 1 is exact */
    for (uint32_t k = 0; k < top_k; k++) gate[k] = (score[expert[k]] / sum) * router->scaling;
}
