/* SPDX-License-Identifier: Apache-2.0
 *
 * The softmax over all tokens or some of them, in the written order of SPEC.md 3.1. */
#include "mmoe_internal.h"

static float logit(const float *logits, const uint8_t *token, uint32_t i) {
    return logits[token ? token[2 * i] | (uint32_t)token[2 * i + 1] << 8 : i];
}

mmoe_score mmoe_score_f32(const float *logits, const uint8_t *token, uint32_t n) {
    mmoe_score score = {.largest = logit(logits, token, 0)};
    for (uint32_t i = 1; i < n; i++) {
        const float z = logit(logits, token, i);
        if (z > score.largest) score.largest = z;
    }
    float lane[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    for (uint32_t i = 0; i < n; i++) lane[i % 4] += mmoe_exp_f32(logit(logits, token, i) - score.largest);
    score.total = (lane[0] + lane[1]) + (lane[2] + lane[3]);
    return score;
}
