/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "mmoe_internal.h"

#define PAINT 0xA5 /* what the arena holds where nothing was written */

static mmoe_runtime the_runtime;

mmoe_status mmoe_init(mmoe_runtime **rt) {
    const mmoe_model *model = &mmoe_the_model;
    const mmoe_memory *memory = &mmoe_the_memory;
    the_runtime = (mmoe_runtime){
        .model = model,
        .arena = memory->arena,
        .kv = memory->kv,
        .op_ticks = memory->op_ticks,
        .op_calls = memory->op_calls,
        .tokens = memory->tokens,
        .routes = memory->routes,
        .statistics = {.layer = memory->layer_statistics},
    };
    *rt = &the_runtime;
    if (model->abi != MMOE_ABI) return MMOE_E_IMAGE;
    if (!mmoe_is_aligned(memory->arena) || !mmoe_is_aligned(memory->kv) || !mmoe_is_aligned(memory->slots)) return MMOE_E_ARGUMENT;
    mmoe_paint_arena(&the_runtime);
    memset(memory->routes, 0, 2u * model->layers * model->top_k);
    mmoe_clear_statistics(&the_runtime);
    return mmoe_pager_open(model, memory, &the_runtime.statistics);
}

void mmoe_reset(mmoe_runtime *rt) { rt->position = rt->fed = 0; }

/* Runs the tokens that wait. Never inlined: the bound on the stack knows it as the caller of the emitted pass. */
static __attribute__((noinline)) mmoe_status run_pass(mmoe_runtime *rt) {
    const uint32_t count = rt->fed;
    rt->fed = 0;
    rt->rows = count;
    mmoe_pager_begin_pass();
    rt->op_started = mmoe_port_ticks();
    MMOE_NOTE_AT(rt->op_started, MMOE_EVENT_STEP, rt->position);
    const mmoe_status status = rt->model->pass(rt);
    rt->decode = 0;
    if (status != MMOE_OK) return status;
    rt->pool_side ^= 1;
    rt->position += count;
    rt->statistics.steps += count;
    return MMOE_OK;
}

/* Room for one more of what is fed. */
static mmoe_status make_room(mmoe_runtime *rt) {
    if (rt->position + rt->fed >= rt->model->context) return MMOE_E_CONTEXT;
    if (rt->fed < rt->model->chunk) return MMOE_OK;
    rt->head = 0;
    return run_pass(rt);
}

mmoe_status mmoe_feed(mmoe_runtime *rt, uint32_t token) {
    if (rt->model->window) return MMOE_E_UNSUPPORTED;
    if (token >= rt->model->vocab_size) return MMOE_E_TOKEN;
    const mmoe_status status = make_room(rt);
    if (status == MMOE_OK) rt->tokens[rt->fed++] = token;
    return status;
}

mmoe_status mmoe_feed_window(mmoe_runtime *rt, const void *window) {
    const mmoe_model *model = rt->model;
    if (model->window == 0) return MMOE_E_UNSUPPORTED;
    const mmoe_status status = make_room(rt);
    if (status == MMOE_OK) memcpy(model->windows + rt->fed++ * model->window, window, model->window * sizeof *model->windows);
    return status;
}

mmoe_status mmoe_finish(mmoe_runtime *rt) {
    rt->head = 1;
    return rt->fed ? run_pass(rt) : MMOE_E_ARGUMENT;
}

mmoe_status mmoe_step(mmoe_runtime *rt, uint32_t token) {
    rt->fed = 0;
    const mmoe_status status = mmoe_feed(rt, token);
    if (status != MMOE_OK) return status;
    rt->decode = 1;
    return mmoe_finish(rt);
}

const float *mmoe_logits(const mmoe_runtime *rt) {
    return (const float *)(const void *)(rt->arena + rt->model->logits_offset);
}

void mmoe_op_done(mmoe_runtime *rt, uint16_t op) {
    const uint64_t now = mmoe_port_ticks();
    rt->op_ticks[op] += now - rt->op_started;
    rt->op_calls[op]++;
    MMOE_NOTE_AT(now, MMOE_EVENT_OP, op);
    rt->op_started = now;
}

void mmoe_clear_statistics(mmoe_runtime *rt) {
    mmoe_layer_statistics *layer = mmoe_the_memory.layer_statistics;
    memset(layer, 0, rt->model->layers * sizeof layer[0]);
    rt->statistics = (mmoe_statistics){.layer = layer};
    mmoe_timeline_clear();
    memset(rt->op_ticks, 0, rt->model->op_count * sizeof rt->op_ticks[0]);
    memset(rt->op_calls, 0, rt->model->op_count * sizeof rt->op_calls[0]);
}

void mmoe_paint_arena(mmoe_runtime *rt) { memset(rt->arena, PAINT, rt->model->arena_bytes); }

uint32_t mmoe_arena_used(const mmoe_runtime *rt) {
    uint32_t used = rt->model->arena_bytes;
    while (used && rt->arena[used - 1] == PAINT) used--;
    return used;
}
