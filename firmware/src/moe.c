/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "mmoe_internal.h"

/* Scratch of mmoe_op_moe, laid out as MMOE_MOE_SCRATCH_BYTES counts it. */
typedef struct {
    float *router;      /* (2 * experts) */
    float *products;    /* (2 * width): gate, then up */
    mmoe_vector *inner; /* (width) quantized */
    uint8_t *rows;      /* (top_k + 1) outputs, float (hidden): the experts, then the shared one */
    uint32_t row_bytes;
} moe_scratch;

static moe_scratch divide_scratch(const mmoe_moe *moe, uint8_t *scratch) {
    const uint32_t width = MMOE_MAX(moe->expert_width, moe->shared_width);
    moe_scratch s;
    s.router = (float *)(void *)scratch;
    scratch += MMOE_PAD(8u * moe->experts, 16u);
    s.products = (float *)(void *)scratch;
    scratch += MMOE_PAD(8u * width, 16u);
    s.inner = (mmoe_vector *)(void *)scratch;
    s.rows = scratch + MMOE_VECTOR_BYTES(width);
    s.row_bytes = MMOE_PAD(4u * moe->hidden, 16u);
    return s;
}

static float *output_row(const moe_scratch *s, uint32_t row) { return (float *)(void *)(s->rows + row * s->row_bytes); }

/* FFN(n) of SPEC.md 3.5 step 2.8, in two halves: s->products, then out */
static void run_gate_up(const mmoe_matrix *gate_up, const mmoe_vector *n, const moe_scratch *s) {
    mmoe_matvec(gate_up, n, s->products);
    mmoe_swiglu_f32(s->products, gate_up->rows / 2, s->products);
}

static mmoe_status run_down(const mmoe_matrix *down, const moe_scratch *s, float *out) {
    const mmoe_status status = mmoe_quantize_s8(s->products, down->columns, s->inner);
    if (status == MMOE_OK) mmoe_matvec(down, s->inner, out);
    return status;
}

static mmoe_matrix page_matrix(const mmoe_page_matrix *m, const uint8_t *page) {
    return (mmoe_matrix){
        .rows = m->rows,
        .columns = m->columns,
        .bits = m->bits,
        .weights = page + m->weights,
        .group_scales = m->bits == 4 ? page + m->group_scales : NULL,
        .row_scales = (const float *)(const void *)(page + m->row_scales),
    };
}

static mmoe_status run_expert(const mmoe_model *model, uint16_t expert, const mmoe_vector *n, const moe_scratch *s,
                              float *out) {
    const uint8_t *page;
    mmoe_status status = mmoe_pager_take(expert, model->expert_down.weights, &page);
    if (status != MMOE_OK) return status;
    const mmoe_matrix gate_up = page_matrix(&model->expert_gate_up, page);
    run_gate_up(&gate_up, n, s); /* while `down` still loads; what a wrong page gives is not looked at */
    status = mmoe_pager_take(expert, model->expert_bytes, &page);
    if (status != MMOE_OK) return status;
    const mmoe_matrix down = page_matrix(&model->expert_down, page);
    status = run_down(&down, s, out);
    mmoe_pager_release(expert);
    mmoe_pager_poll();
    return status;
}

/* Loads ahead what the next layer's router makes of this layer's input (SPEC.md 7.1). */
static void guess_next(const mmoe_model *model, const mmoe_moe *next, const float *n, const moe_scratch *s) {
    uint8_t guessed[MMOE_MAX_TOP_K];
    float gate[MMOE_MAX_TOP_K];
    uint16_t number[MMOE_MAX_TOP_K];
    mmoe_route_f32(n, next->hidden, next->router_weight, next->router_bias, next->experts, model->prefetch, next->scaling,
                   guessed, gate, s->router);
    for (uint32_t k = 0; k < model->prefetch; k++) number[k] = (uint16_t)(next->layer * next->experts + guessed[k]);
    mmoe_pager_want_later(number, model->prefetch);
}

mmoe_status mmoe_op_moe(mmoe_runtime *rt, const mmoe_moe *moe, const float *n, const mmoe_vector *q, float *x,
                        void *scratch) {
    const mmoe_model *model = rt->model;
    const moe_scratch s = divide_scratch(moe, scratch);
    const uint32_t top_k = moe->experts ? moe->top_k : 0;
    uint8_t *chosen = rt->routes + moe->layer * top_k, *hit = chosen + model->layers * top_k;
    float gate[MMOE_MAX_TOP_K];
    uint16_t number[MMOE_MAX_TOP_K]; /* of the chosen experts, in the image */
    if (top_k) {
        mmoe_route_f32(n, moe->hidden, moe->router_weight, moe->router_bias, moe->experts, top_k, moe->scaling, chosen, gate,
                       s.router);
        for (uint32_t k = 0; k < top_k; k++) number[k] = (uint16_t)(moe->layer * moe->experts + chosen[k]);
        mmoe_pager_want(number, top_k, hit); /* the first miss loads from here on */
        if (model->prefetch && moe->next) guess_next(model, moe->next, n, &s);
    }

    float *sum = output_row(&s, top_k);
    if (moe->shared_width) {
        run_gate_up(moe->shared_gate_up, q, &s);
        const mmoe_status status = run_down(moe->shared_down, &s, sum);
        if (status != MMOE_OK) return status;
        mmoe_pager_poll();
    } else {
        memset(sum, 0, 4u * moe->hidden);
    }
    for (uint32_t pass = 0; pass < 2; pass++) { /* hits, then misses, each computed while the next one loads */
        for (uint32_t k = 0; k < top_k; k++) {
            if (hit[k] != 1 - pass) continue;
            const mmoe_status status = run_expert(model, number[k], q, &s, output_row(&s, k));
            if (status != MMOE_OK) return status;
        }
    }
    /* The written order of SPEC.md 3.5, whatever came first above */
    for (uint32_t k = 0; k < top_k; k++) mmoe_accumulate_f32(output_row(&s, k), gate[k], moe->hidden, sum);
    mmoe_add_f32(sum, moe->hidden, x);
    return MMOE_OK;
}
