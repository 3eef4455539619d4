/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "mmoe_internal.h"

/* Scratch of mmoe_op_moe, laid out as MMOE_MOE_SCRATCH_BYTES counts it; batch is MMOE_MIN(chunk, MMOE_BATCH). */
typedef struct {
    float *router;      /* (2 * experts) */
    uint8_t *products;  /* (batch) rows float (2 * width): gate, then up */
    mmoe_vector *inner; /* (batch) rows (width) quantized */
    uint8_t *outputs;   /* (max(top_k, batch)) rows float (hidden) */
    float *gate;        /* (chunk, top_k) */
    uint8_t *chosen;    /* (chunk, top_k) */
    uint8_t *next;      /* (chunk): of a token's experts, which comes next */
    void *matmul;
    uint32_t width, product_bytes, output_bytes;
} moe_scratch;

static moe_scratch divide_scratch(const mmoe_moe *moe, uint32_t chunk, uint8_t *scratch) {
    const uint32_t width = MMOE_MAX(moe->expert_width, moe->shared_width), batch = MMOE_MIN(chunk, MMOE_BATCH);
    const uint32_t choices = chunk * moe->router.top_k;
    moe_scratch s = {
        .width = width, .product_bytes = MMOE_PAD(8u * width, 16u), .output_bytes = MMOE_PAD(4u * moe->hidden, 16u)};
    s.router = (float *)(void *)scratch;
    s.products = scratch + MMOE_PAD(8u * moe->router.experts, 16u);
    s.inner = (mmoe_vector *)(void *)(s.products + batch * s.product_bytes);
    s.outputs = (uint8_t *)mmoe_vector_row(s.inner, width, batch);
    scratch = s.outputs + MMOE_MAX(moe->router.top_k, batch) * s.output_bytes;
    s.gate = (float *)(void *)scratch;
    s.chosen = scratch + 4 * choices;
    s.next = s.chosen + choices;
    s.matmul = scratch + MMOE_PAD(5 * choices + chunk, 16u);
    return s;
}

static float *output_row(const moe_scratch *s, uint32_t row) {
    return (float *)(void *)(s->outputs + row * s->output_bytes);
}

/* Tokens that go through an FFN together */
typedef struct {
    uint32_t count; /* 1..MMOE_BATCH */
    const mmoe_vector *in[MMOE_BATCH];
    float *out[MMOE_BATCH];
} moe_batch;

/* FFN(in) of SPEC.md 3.5 step 2.8, in two halves: s->inner, then out */
static mmoe_status run_gate_up(const mmoe_matrix *gate_up, const moe_batch *b, const moe_scratch *s) {
    float *products[MMOE_BATCH] = {(float *)(void *)s->products};
    mmoe_status status = MMOE_OK;
    if (b->count == 1) { /* the common case, as short as it can be */
        mmoe_matvec(gate_up, b->in[0], products[0]);
        return mmoe_swiglu_s8(products[0], gate_up->rows / 2, b->in[0]->scale, s->inner);
    }
    for (uint32_t i = 0; i < b->count; i++) products[i] = (float *)(void *)(s->products + i * s->product_bytes);
    mmoe_matmul(gate_up, b->in, products, b->count, s->matmul);
    for (uint32_t i = 0; i < b->count && status == MMOE_OK; i++)
        status = mmoe_swiglu_s8(products[i], gate_up->rows / 2, b->in[i]->scale, mmoe_vector_row(s->inner, s->width, i));
    return status;
}

static void run_down(const mmoe_matrix *down, const moe_batch *b, const moe_scratch *s) {
    const mmoe_vector *inner[MMOE_BATCH];
    if (b->count == 1) {
        mmoe_matvec(down, s->inner, b->out[0]);
        return;
    }
    for (uint32_t i = 0; i < b->count; i++) inner[i] = mmoe_vector_row(s->inner, s->width, i);
    mmoe_matmul(down, inner, b->out, b->count, s->matmul);
}

static mmoe_status run_shared(const mmoe_moe *moe, const moe_batch *b, const moe_scratch *s) {
    MMOE_NOTE(MMOE_EVENT_FFN, MMOE_SHARED_EXPERT);
    const mmoe_status status = run_gate_up(moe->shared_gate_up, b, s);
    if (status != MMOE_OK) return status;
    run_down(moe->shared_down, b, s);
    MMOE_NOTE(MMOE_EVENT_FFN_END, MMOE_SHARED_EXPERT);
    mmoe_pager_poll();
    return MMOE_OK;
}

/* b->out = Shared(b->in), scaled where there is a gate; on entry b->out holds the normed x that the gate looks at. */
static mmoe_status run_scaled_shared(const mmoe_moe *moe, moe_batch *b, const moe_scratch *s) {
    if (!moe->shared_gate) return run_shared(moe, b, s);
    float gate[MMOE_BATCH], *sums[MMOE_BATCH];
    for (uint32_t i = 0; i < b->count; i++) {
        sums[i] = b->out[i];
        gate[i] = mmoe_gate_f32(sums[i], moe->shared_gate, moe->hidden);
        b->out[i] = output_row(s, i);
    }
    const mmoe_status status = run_shared(moe, b, s);
    for (uint32_t i = 0; i < b->count && status == MMOE_OK; i++) {
        memset(sums[i], 0, 4u * moe->hidden);
        mmoe_accumulate_f32(b->out[i], gate[i], moe->hidden, sums[i]);
    }
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

/* number: of a wanted expert, in the image; it stays until it is released */
static mmoe_status run_expert(const mmoe_model *model, uint16_t number, const moe_batch *b, const moe_scratch *s) {
    const uint8_t *page = mmoe_pager_ready(number);
    mmoe_status status = MMOE_OK;
    const int awaited = page == NULL;
    if (awaited) status = mmoe_pager_take(number, model->expert_down.weights, &page);
    if (status != MMOE_OK) return status;
    const mmoe_matrix gate_up = page_matrix(&model->expert_gate_up, page);
    MMOE_NOTE(MMOE_EVENT_FFN, number);
    const mmoe_status numeric = run_gate_up(&gate_up, b, s); /* while `down` still loads */
    if (awaited) status = mmoe_pager_take(number, model->expert_bytes, &page);
    if (status == MMOE_OK) status = numeric; /* of a page that is right */
    if (status != MMOE_OK) return status;
    const mmoe_matrix down = page_matrix(&model->expert_down, page);
    run_down(&down, b, s);
    MMOE_NOTE(MMOE_EVENT_FFN_END, number);
    return MMOE_OK;
}

static void release_expert(uint16_t number) {
    mmoe_pager_release(number);
    mmoe_pager_poll();
}

/* Loads ahead what the next layer's router makes of this layer's input (SPEC.md 7.1). */
static void guess_next(const mmoe_model *model, const mmoe_moe *next, const float *n, const moe_scratch *s) {
    uint8_t guessed[MMOE_MAX_TOP_K];
    float gate[MMOE_MAX_TOP_K];
    uint16_t number[MMOE_MAX_TOP_K];
    mmoe_router router = next->router;
    router.top_k = model->prefetch;
    mmoe_route_f32(&router, n, next->hidden, guessed, gate, s->router);
    for (uint32_t k = 0; k < router.top_k; k++) number[k] = (uint16_t)(next->layer * router.experts + guessed[k]);
    mmoe_pager_want_later(number, model->prefetch);
}

/* The router's bias, more for experts in slots (SPEC.md 7.3): where the router will put score + bias */
static const float *favour_loaded(const mmoe_model *model, const mmoe_moe *moe, const moe_scratch *s) {
    float *bias = s->router;
    for (uint32_t e = 0; e < moe->router.experts; e++) {
        bias[e] = moe->router.bias[e];
        if (mmoe_pager_holds((uint16_t)(moe->layer * moe->router.experts + e))) bias[e] += model->cache_margin;
    }
    return bias;
}

/* --- one token: experts that are loaded come first, each of the others while the next one loads ------------------------ */

static mmoe_status run_token(mmoe_runtime *rt, const mmoe_moe *moe, float *n, const mmoe_vector *q, float *x,
                             const moe_scratch *s) {
    const uint32_t top_k = moe->router.top_k;
    uint8_t *chosen = rt->routes + moe->layer * top_k, *hit = chosen + rt->model->layers * top_k;
    float gate[MMOE_MAX_TOP_K], *sum = n;
    uint16_t number[MMOE_MAX_TOP_K]; /* of the chosen experts, in the image */
    if (top_k) {
        mmoe_router router = moe->router;
        if (rt->decode && rt->model->cache_margin != 0.0f) router.bias = favour_loaded(rt->model, moe, s);
        mmoe_route_f32(&router, n, moe->hidden, chosen, gate, s->router);
        for (uint32_t k = 0; k < top_k; k++) number[k] = (uint16_t)(moe->layer * router.experts + chosen[k]);
        mmoe_pager_want(number, top_k, hit); /* the first miss loads from here on */
        if (rt->model->prefetch && moe->next) guess_next(rt->model, moe->next, n, s);
    }
    moe_batch b = {.count = 1, .in = {q}, .out = {sum}};
    if (moe->shared_width) {
        const mmoe_status status = run_scaled_shared(moe, &b, s);
        if (status != MMOE_OK) return status;
    } else {
        memset(sum, 0, 4u * moe->hidden);
    }
    for (uint32_t pass = 0; pass < 2; pass++) {
        for (uint32_t k = 0; k < top_k; k++) {
            if (hit[k] != 1 - pass) continue;
            b.out[0] = output_row(s, k);
            const mmoe_status status = run_expert(rt->model, number[k], &b, s);
            if (status != MMOE_OK) return status;
            release_expert(number[k]);
        }
    }
    /* The written order of SPEC.md 3.5, whatever came first above */
    mmoe_combine_f32(sum, output_row(s, 0), s->output_bytes / 4, gate, top_k, moe->hidden, x);
    return MMOE_OK;
}

/* --- several tokens: experts in rising index, each for all tokens that chose it, so that sums keep the written order ----- */

typedef struct {
    uint8_t used[32]; /* one bit an expert: some token chose it */
    uint32_t from;    /* experts of the layer below this one were asked for */
    uint32_t count;   /* of the experts that were asked for last */
    uint16_t *number; /* (experts) of those, in the image */
    uint8_t *hit;     /* (experts) */
} moe_window;

static void route_tokens(mmoe_runtime *rt, const mmoe_moe *moe, const float *n, const moe_scratch *s, moe_window *w) {
    const uint32_t top_k = moe->router.top_k;
    uint8_t *chosen = s->chosen;
    for (uint32_t row = 0; row < rt->rows; row++, chosen += top_k) {
        mmoe_route_f32(&moe->router, n + row * moe->hidden, moe->hidden, chosen, s->gate + row * top_k, s->router);
        for (uint32_t k = 0; k < top_k; k++)
            w->used[chosen[k] / 8] = (uint8_t)(w->used[chosen[k] / 8] | 1u << chosen[k] % 8);
        s->next[row] = 0;
    }
    memcpy(rt->routes + moe->layer * top_k, chosen - top_k, top_k);
    w->number = (uint16_t *)(void *)s->router; /* the routers are done with it */
    w->hit = (uint8_t *)(w->number + moe->router.experts);
}

/* Experts that surely find a slot of this layer together */
static uint32_t window_size(const mmoe_model *model, const mmoe_moe *moe) {
    const uint16_t *first = model->first_slot;
    if (model->expert_place || model->slots == 0) return moe->router.top_k; /* room for one token's is in every plan */
    return first ? first[moe->layer + 1] - first[moe->layer] : model->slots;
}

/* Asks for the next experts of the layer. */
static void want_experts(mmoe_runtime *rt, const mmoe_moe *moe, moe_window *w) {
    const uint32_t first = moe->layer * (uint32_t)moe->router.experts, top_k = moe->router.top_k, most = window_size(rt->model, moe);
    const uint8_t *last = rt->routes + moe->layer * top_k;
    uint8_t *hit_flag = rt->routes + (rt->model->layers + (uint32_t)moe->layer) * top_k;
    w->count = 0;
    for (; w->from < moe->router.experts && w->count < most; w->from++)
        if (w->used[w->from / 8] >> w->from % 8 & 1) w->number[w->count++] = (uint16_t)(first + w->from);
    if (w->count) mmoe_pager_want(w->number, w->count, w->hit);
    for (uint32_t i = 0; i < w->count; i++)
        for (uint32_t k = 0; k < top_k; k++)
            if (first + last[k] == w->number[i]) hit_flag[k] = w->hit[i];
}

/* sums = Shared(q) */
static mmoe_status run_all(mmoe_runtime *rt, const mmoe_moe *moe, const mmoe_vector *q, float *sums, const moe_scratch *s) {
    for (uint32_t row = 0; row < rt->rows;) {
        moe_batch b = {.count = 0};
        for (; b.count < MMOE_BATCH && row < rt->rows; row++, b.count++) {
            b.in[b.count] = mmoe_const_vector_row(q, moe->hidden, row);
            b.out[b.count] = sums + row * moe->hidden;
        }
        const mmoe_status status = run_scaled_shared(moe, &b, s);
        if (status != MMOE_OK) return status;
    }
    return MMOE_OK;
}

/* sums += gate * Expert(q) for the tokens that chose it */
static mmoe_status run_chosen(mmoe_runtime *rt, const mmoe_moe *moe, uint16_t number, const mmoe_vector *q, float *sums,
                              const moe_scratch *s) {
    const uint32_t top_k = moe->router.top_k, hidden = moe->hidden, expert = number - (uint32_t)moe->layer * moe->router.experts;
    for (uint32_t row = 0; row < rt->rows;) {
        moe_batch b = {.count = 0};
        uint32_t rows[MMOE_BATCH];
        for (; b.count < MMOE_BATCH && row < rt->rows; row++) {
            if (s->next[row] == top_k || s->chosen[row * top_k + s->next[row]] != expert) continue;
            b.in[b.count] = mmoe_const_vector_row(q, hidden, row);
            b.out[b.count] = output_row(s, b.count);
            rows[b.count++] = row;
        }
        if (b.count == 0) break;
        const mmoe_status status = run_expert(rt->model, number, &b, s);
        if (status != MMOE_OK) return status;
        for (uint32_t i = 0; i < b.count; i++) {
            const float gate = s->gate[rows[i] * top_k + s->next[rows[i]]++];
            mmoe_accumulate_f32(b.out[i], gate, hidden, sums + rows[i] * hidden);
        }
    }
    release_expert(number);
    return MMOE_OK;
}

static mmoe_status run_tokens(mmoe_runtime *rt, const mmoe_moe *moe, float *n, const mmoe_vector *q, float *x,
                              const moe_scratch *s) {
    mmoe_status status = MMOE_OK;
    moe_window w = {.count = 0};
    if (moe->router.top_k) {
        route_tokens(rt, moe, n, s, &w);
        want_experts(rt, moe, &w);
    }
    if (moe->shared_width)
        status = run_all(rt, moe, q, n, s);
    else
        memset(n, 0, 4u * rt->rows * moe->hidden);
    while (w.count && status == MMOE_OK) {
        for (uint32_t i = 0; i < w.count && status == MMOE_OK; i++) status = run_chosen(rt, moe, w.number[i], q, n, s);
        if (status == MMOE_OK) want_experts(rt, moe, &w);
    }
    if (status == MMOE_OK) mmoe_add_f32(n, rt->rows * moe->hidden, x);
    return status;
}

mmoe_status mmoe_op_moe(mmoe_runtime *rt, const mmoe_moe *moe, float *n, const mmoe_vector *q, float *x, void *scratch) {
    const moe_scratch s = divide_scratch(moe, rt->model->chunk, scratch);
    return rt->rows == 1 ? run_token(rt, moe, n, q, x, &s) : run_tokens(rt, moe, n, q, x, &s);
}
