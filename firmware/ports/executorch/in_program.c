/* SPDX-License-Identifier: Apache-2.0
 *
 * The firmware's MoE block on experts that lie in the program: moe.c once more, with a pager that has every expert. */
#include "in_program.h"

#include <string.h>

#include "mmoe_internal.h"

static _Thread_local const mmoe_in_program *here; /* of the call that runs on this thread */

static const uint8_t *page_of(uint16_t expert) { return here->pages + expert * here->page_bytes; }

static mmoe_status take_page(uint16_t expert, uint32_t bytes, const uint8_t **page) {
    (void)bytes;
    *page = page_of(expert);
    return MMOE_OK;
}

#define mmoe_pager_want(expert, count, hit) memset(hit, 1, count)
#define mmoe_pager_want_later(expert, count) ((void)(expert))
#define mmoe_pager_poll() ((void)0)
#define mmoe_pager_ready page_of
#define mmoe_pager_take take_page
#define mmoe_pager_holds(expert) 1
#define mmoe_pager_release(expert) ((void)(expert))
#define mmoe_op_moe run_moe_in_program
#include "../../src/moe.c"

static size_t scratch_bytes(const mmoe_moe *moe, uint32_t rows) {
    return MMOE_MOE_SCRATCH_BYTES(rows, (size_t)moe->hidden, moe->router.experts, moe->router.top_k, moe->expert_width,
                                  moe->shared_width);
}

size_t mmoe_moe_call_bytes(const mmoe_moe *moe, uint32_t rows) {
    const size_t hidden = moe->hidden;
    return MMOE_PAD(rows * 4 * hidden, 16) + rows * MMOE_VECTOR_BYTES(hidden) + scratch_bytes(moe, rows);
}

mmoe_status mmoe_moe_prepare(const mmoe_moe *moe, uint32_t rows, const float *n, void *scratch, mmoe_moe_call *call) {
    const size_t hidden = moe->hidden, floats = rows * hidden;
    uint8_t *next = scratch;
    call->n = (float *)(void *)next;
    next += MMOE_PAD(4 * floats, 16);
    call->q = (mmoe_vector *)(void *)next;
    next += rows * MMOE_VECTOR_BYTES(hidden);
    call->scratch = next;
    memcpy(call->n, n, 4 * floats);
    mmoe_status status = MMOE_OK;
    for (uint32_t row = 0; row < rows && status == MMOE_OK; row++)
        status = mmoe_quantize_s8(n + row * hidden, moe->hidden, mmoe_vector_row(call->q, moe->hidden, row));
    return status;
}

mmoe_status mmoe_moe_in_program(const mmoe_in_program *at, const mmoe_moe *moe, uint32_t rows, const float *n, float *x, void *scratch) {
    mmoe_moe_call call;
    if (moe->layer != 0 || moe->router.top_k > MMOE_MAX_TOP_K) return MMOE_E_ARGUMENT; /* routes has no more room */
    const mmoe_status status = mmoe_moe_prepare(moe, rows, n, scratch, &call);
    if (status != MMOE_OK) return status;
    const mmoe_model model = {
        .chunk = (uint16_t)rows,
        .layers = 1,
        .hidden = moe->hidden,
        .experts = moe->router.experts,
        .top_k = moe->router.top_k,
        .expert_gate_up = at->gate_up,
        .expert_down = at->down,
    };
    uint8_t routes[2 * MMOE_MAX_TOP_K];
    mmoe_runtime rt = {.model = &model, .rows = rows, .routes = routes};
    here = at;
    return run_moe_in_program(&rt, moe, call.n, call.q, x, call.scratch);
}
