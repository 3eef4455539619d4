/* SPDX-License-Identifier: Apache-2.0
 *
 * Which expert a full cache drops (SPEC.md 7.2). A new policy is a value of mmoe_policy, a case in the functions here, and the
 * same rule in the replay of traces (toolkit/mmoe_embed/paging). */
#include <string.h>

#include "mmoe_internal.h"

#define AGEING_PASSES 64 /* of LFU */
/* Of the expected wait: what a use adds to a chance, what one at the layer's last turn adds to it, the least chance */
enum { DECAY_SHIFT = 4, USE = 4094, AGAIN = 16384, LEAST = 1024, TOKEN = 1024 };

static struct {
    const mmoe_model *model;
    uint16_t *expert_uses; /* of LFU the number of uses, of the expected wait the chance, bit 0: used at its layer's last turn */
    uint32_t uses;         /* of experts, so far: the clock of mmoe_slot.used */
    uint32_t turn;         /* the clock when the present layer's turn began */
    uint32_t layer;        /* the present one, or the last one */
    uint8_t in_turn;       /* 1: it has begun in this pass */
    uint8_t idle;          /* 1: every expert has a slot or is used in place: nothing is ever dropped */
    uint32_t passes;       /* since the last ageing */
} policy;

static uint32_t expert_count(void) { return (uint32_t)policy.model->layers * policy.model->experts; }

void mmoe_policy_open(const mmoe_model *model, const mmoe_memory *memory) {
    policy.model = model;
    policy.expert_uses = memory->expert_uses;
    policy.idle = model->slots == 0 || (model->slots >= expert_count() && !model->first_slot);
}

void mmoe_policy_forget(void) {
    policy.uses = policy.turn = policy.layer = policy.passes = 0;
    policy.in_turn = 0;
    memset(policy.expert_uses, 0, sizeof policy.expert_uses[0] * expert_count());
}

void mmoe_policy_begin_pass(void) {
    policy.in_turn = 0;
    if (policy.idle || policy.model->policy != MMOE_POLICY_LFU || ++policy.passes < AGEING_PASSES) return;
    policy.passes = 0;
    for (uint32_t e = 0; e < expert_count(); e++) policy.expert_uses[e] >>= 1;
}

void mmoe_policy_begin_layer(uint32_t layer) {
    if (policy.idle) return;
    const int goes_on = policy.in_turn && layer == policy.layer; /* a chunk of a prompt, group after group of its experts */
    policy.turn = policy.uses;
    policy.layer = layer;
    policy.in_turn = 1;
    if (goes_on || policy.model->policy != MMOE_POLICY_WAIT) return;
    uint16_t *chance = policy.expert_uses + layer * policy.model->experts;
    for (uint32_t e = 0; e < policy.model->experts; e++) chance[e] = (uint16_t)((chance[e] - (chance[e] >> DECAY_SHIFT)) & ~1);
}

uint32_t mmoe_policy_use(uint16_t expert) {
    uint16_t *uses = &policy.expert_uses[expert];
    if (policy.idle) return ++policy.uses;
    if (policy.model->policy == MMOE_POLICY_WAIT)
        *uses = (uint16_t)((*uses + USE) | 1);
    else if (policy.model->policy == MMOE_POLICY_LFU)
        ++*uses;
    return ++policy.uses;
}

uint32_t mmoe_policy_now(void) { return policy.uses; }

/* Until the expert is used again, as far as can be told, in 1 / TOKEN of a token */
static uint32_t expected_wait(uint16_t expert) {
    const uint32_t layers = policy.model->layers, layer = expert / policy.model->experts, chance = policy.expert_uses[expert];
    const uint32_t to_go = layer > policy.layer ? layer - policy.layer - 1 : layer + layers - policy.layer - 1;
    return to_go * TOKEN / layers + ((1u << 16) + AGAIN) * TOKEN / (chance + (chance & 1) * AGAIN + LEAST);
}

static uint32_t reason_to_drop(uint16_t expert) {
    switch (policy.model->policy) {
    case MMOE_POLICY_LFU: return 0x10000u - policy.expert_uses[expert];
    case MMOE_POLICY_WAIT: return expected_wait(expert);
    default: return 1;
    }
}

uint64_t mmoe_policy_rank(const mmoe_slot *slot) {
    const uint32_t age = policy.uses - slot->used;
    if (age < policy.uses - policy.turn) return age; /* of the layer at hand: last of all */
    return (uint64_t)reason_to_drop(slot->expert) << 32 | age;
}
