/* SPDX-License-Identifier: Apache-2.0
 *
 * Which expert a full cache drops. A new policy is a value of mmoe_policy, a case in each function here, and the same rule in
 * the planner's replay (toolkit/mmoe_embed/paging). */
#include <string.h>

#include "mmoe_internal.h"

#define AGEING_TOKENS 64 /* uses are halved this often; below 128, so that they fit a byte */

static struct {
    const mmoe_model *model;
    uint8_t *expert_uses;
    uint32_t uses;   /* of experts, so far: the clock of mmoe_slot.used */
    uint32_t tokens; /* since the last ageing */
} policy;

static uint32_t expert_count(void) { return (uint32_t)policy.model->layers * policy.model->experts; }

void mmoe_policy_open(const mmoe_model *model, const mmoe_memory *memory) {
    policy.model = model;
    policy.expert_uses = memory->expert_uses;
    policy.uses = policy.tokens = 0;
    memset(policy.expert_uses, 0, expert_count());
}

void mmoe_policy_begin_token(void) {
    if (++policy.tokens < AGEING_TOKENS) return;
    policy.tokens = 0;
    for (uint32_t e = 0; e < expert_count(); e++) policy.expert_uses[e] >>= 1;
}

uint32_t mmoe_policy_use(uint16_t expert) {
    if (policy.expert_uses[expert] < 255) policy.expert_uses[expert]++;
    return ++policy.uses;
}

uint32_t mmoe_policy_now(void) { return policy.uses; }

int mmoe_policy_prefers(const mmoe_slot *a, const mmoe_slot *b) {
    if (policy.model->policy == MMOE_POLICY_LFU) {
        const uint8_t uses_a = policy.expert_uses[a->expert], uses_b = policy.expert_uses[b->expert];
        if (uses_a != uses_b) return uses_a < uses_b;
    }
    return policy.uses - a->used > policy.uses - b->used;
}
