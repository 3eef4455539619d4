/* SPDX-License-Identifier: Apache-2.0
 *
 * The firmware's pager on experts that a delegate reads; and the MoE block on it. */
#define _POSIX_C_SOURCE 200809L
#include "paged.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "in_program.h"
#include "mmoe_internal.h"

static struct {
    mmoe_paged_plan *plan; /* NULL: none is open */
    uint32_t plan_bytes;
    const uint8_t *head; /* of the expert image */
    mmoe_model model;
    mmoe_memory memory;
    mmoe_runtime rt;
    int copied; /* 1: the last read was of the head, and is over */
} paged;

/* --- what the pager asks of a port: the image's head from memory, while no page is read, and its pages from the delegate --------- */

uint64_t mmoe_port_ticks(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint32_t mmoe_port_tick_hz(void) { return 1000000000u; }

mmoe_status mmoe_port_read_start(void *dst, uint32_t offset, uint32_t length) {
    const mmoe_paged_plan *plan = paged.plan;
    paged.copied = offset < plan->head_bytes;
    if (!paged.copied) {
        const uint32_t at = offset - plan->head_bytes;
        return mmoe_paged_read_start(at / plan->page_bytes, at % plan->page_bytes, dst, length);
    }
    if (length > plan->head_bytes - offset) return MMOE_E_PAGE_READ;
    memcpy(dst, paged.head + offset, length);
    return MMOE_OK;
}

int mmoe_port_read_done(void) { return paged.copied ? 1 : mmoe_paged_read_done(); }
uint32_t mmoe_port_read_progress(void) { return 0; }
uint64_t mmoe_port_read_ended(void) { return mmoe_paged_read_ended(); }

/* --- opening --------------------------------------------------------------------------------------------------------------- */

static int is_plan(const mmoe_paged_plan *plan, uint32_t size) {
    if (size < sizeof *plan || memcmp(plan->magic, "MMXP", 4) != 0 || plan->version != 2) return 0;
    const uint64_t count = (uint64_t)plan->layers * plan->experts;
    const uint64_t least = plan->top_k + 1u < count ? plan->top_k + 1u : count;
    return count > 0 && count < MMOE_NO_SLOT && plan->top_k >= 1 && plan->top_k <= MMOE_MAX_TOP_K && plan->top_k <= plan->experts &&
           plan->experts <= 255 && plan->slots >= least && plan->slots < MMOE_NO_SLOT && plan->expert_bytes % 16 == 0 &&
           plan->expert_bytes <= plan->page_bytes && plan->policy <= MMOE_POLICY_WAIT &&
           plan->prefetch <= MMOE_MAX_TOP_K && plan->prefetch <= plan->experts &&
           (plan->places == 0 || plan->places == count) && (plan->bounds == 0 || plan->bounds == plan->layers + 1) &&
           plan->head_bytes >= MMOE_HEADER_BYTES + MMOE_ENTRY_BYTES * count &&
           MMOE_PAD(sizeof *plan + MMOE_PAD((uint64_t)plan->places, 4) + 2ull * plan->bounds, 16) + plan->head_bytes == size &&
           mmoe_crc32(0, plan->model_id, size - (uint32_t)offsetof(mmoe_paged_plan, model_id)) == plan->crc;
}

/* Every array of the runtime; 0 when there is not enough memory. */
static int take_memory(void) {
    const mmoe_model *model = &paged.model;
    const size_t count = (size_t)model->layers * model->experts;
    mmoe_memory *memory = &paged.memory;
    memory->slots = aligned_alloc(64, MMOE_PAD((size_t)model->slots * model->expert_bytes, 64));
    memory->slot = calloc(model->slots, sizeof *memory->slot);
    memory->routes = calloc(2u * model->layers, model->top_k);
    memory->layer_statistics = calloc(model->layers, sizeof *memory->layer_statistics);
    memory->expert_slot = calloc(count, sizeof *memory->expert_slot);
    memory->expert_uses = calloc(count, sizeof *memory->expert_uses);
    memory->table = calloc(count, sizeof *memory->table);
    memory->queue = calloc(model->experts, sizeof *memory->queue);
    return memory->slots && memory->slot && memory->routes && memory->layer_statistics && memory->expert_slot &&
           memory->expert_uses && memory->table && memory->queue;
}

static void fill_model(const mmoe_paged_plan *plan) {
    const uint8_t *places = (const uint8_t *)(plan + 1), *bounds = places + MMOE_PAD(plan->places, 4);
    paged.head = places + (paged.plan_bytes - sizeof *plan - plan->head_bytes);
    paged.model = (mmoe_model){
        .abi = MMOE_ABI,
        .layers = (uint16_t)plan->layers,
        .hidden = (uint16_t)plan->hidden,
        .experts = (uint16_t)plan->experts,
        .top_k = (uint16_t)plan->top_k,
        .expert_bytes = plan->expert_bytes,
        .slots = (uint16_t)plan->slots,
        .policy = (uint16_t)plan->policy,
        .prefetch = (uint16_t)plan->prefetch,
        .expert_place = plan->places ? places : NULL,
        .first_slot = plan->bounds ? (const uint16_t *)(const void *)bounds : NULL,
        .expert_gate_up = plan->gate_up,
        .expert_down = plan->down,
    };
    memcpy(paged.model.model_id, plan->model_id, sizeof plan->model_id);
}

mmoe_status mmoe_paged_open(const void *plan, uint32_t size) {
    mmoe_paged_close();
    if (!is_plan(plan, size)) return MMOE_E_ARGUMENT;
    paged.plan = malloc(size);
    if (!paged.plan) return MMOE_E_ARGUMENT;
    memcpy(paged.plan, plan, size);
    paged.plan_bytes = size;
    fill_model(paged.plan);
    mmoe_status status = take_memory() ? MMOE_OK : MMOE_E_ARGUMENT;
    if (status == MMOE_OK) {
        paged.rt = (mmoe_runtime){
            .model = &paged.model, .routes = paged.memory.routes, .statistics = {.layer = paged.memory.layer_statistics}};
        status = mmoe_pager_open(&paged.model, &paged.memory, &paged.rt.statistics);
    }
    if (status != MMOE_OK) mmoe_paged_close();
    return status;
}

void mmoe_paged_close(void) {
    mmoe_memory *memory = &paged.memory;
    free(memory->slots);
    free(memory->slot);
    free(memory->routes);
    free(memory->layer_statistics);
    free(memory->expert_slot);
    free(memory->expert_uses);
    free(memory->table);
    free(memory->queue);
    free(paged.plan);
    memset(&paged, 0, sizeof paged);
}

int mmoe_paged_is_open(const void *plan, uint32_t size) {
    return paged.plan && size == paged.plan_bytes && memcmp(plan, paged.plan, size) == 0;
}

/* --- running --------------------------------------------------------------------------------------------------------------- */

mmoe_status mmoe_paged_run(const mmoe_moe *moe, uint32_t rows, const float *n, float *x, void *scratch) {
    mmoe_moe_call call;
    const mmoe_model *model = &paged.model;
    if (!paged.plan || moe->layer >= model->layers || moe->hidden != model->hidden || moe->router.experts != model->experts ||
        moe->router.top_k != model->top_k || 2u * moe->expert_width != model->expert_gate_up.rows ||
        moe->expert_width != model->expert_down.columns || moe->hidden != model->expert_down.rows ||
        (moe->next && (moe->next->layer >= model->layers || moe->next->hidden != model->hidden)))
        return MMOE_E_ARGUMENT;
    const mmoe_status status = mmoe_moe_prepare(moe, rows, n, scratch, &call);
    if (status != MMOE_OK) return status;
    if (moe->layer == 0) mmoe_pager_begin_pass();
    paged.model.chunk = (uint16_t)rows;
    paged.rt.rows = rows;
    return mmoe_op_moe(&paged.rt, moe, call.n, call.q, x, call.scratch);
}

mmoe_paged_counts mmoe_paged_count(void) {
    mmoe_paged_counts counts = {.prefetched = paged.rt.statistics.prefetched};
    for (uint32_t layer = 0; layer < paged.model.layers; layer++) {
        const mmoe_layer_statistics *of = &paged.memory.layer_statistics[layer];
        counts.hits += of->hits;
        counts.misses += of->misses;
        counts.bytes_loaded += of->bytes_loaded;
    }
    return counts;
}
