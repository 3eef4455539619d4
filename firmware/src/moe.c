/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "mmoe_internal.h"

/* Scratch of mmoe_op_moe, laid out as MMOE_MOE_SCRATCH_BYTES counts it. batch: 1 for one token, else MMOE_MOE_BATCH(chunk) */
typedef struct {
    float *router;      /* (2 * experts) */
    uint8_t *products;  /* (batch) rows float (2 * width): gate, then up */
    mmoe_vector *inner; /* (batch) rows (width) quantized */
    uint8_t *outputs;   /* (max(top_k, batch)) rows float (hidden) */
    uint32_t width, product_bytes, output_bytes;
    /* Of several tokens */
    mmoe_vector **inners; /* (batch): rows of inner */
    float **gates_ups;    /* (batch): rows of products */
    void *matmul;
} moe_scratch;

static inline moe_scratch divide_scratch(const mmoe_moe *moe, uint32_t batch, uint8_t *scratch) {
    const uint32_t width = MMOE_MAX(moe->expert_width, moe->shared_width);
    moe_scratch s = {
        .width = width, .product_bytes = MMOE_PAD(8u * width, 16u), .output_bytes = MMOE_PAD(4u * moe->hidden, 16u)};
    s.router = (float *)(void *)scratch;
    s.products = scratch + MMOE_PAD(8u * moe->router.experts, 16u);
    s.inner = (mmoe_vector *)(void *)(s.products + batch * s.product_bytes);
    s.outputs = (uint8_t *)mmoe_vector_row(s.inner, width, batch);
    return s;
}

static float *output_row(const moe_scratch *s, uint32_t row) {
    return (float *)(void *)(s->outputs + row * s->output_bytes);
}

/* Tokens that go through an FFN together */
typedef struct {
    uint32_t count; /* 1..batch */
    const mmoe_vector **in;
    float **out;
} moe_batch;

/* FFN(in) of SPEC.md 3.5 step 2.8, in two halves: s->inner, then out */
static mmoe_status run_gate_up(const mmoe_matrix *gate_up, const moe_batch *b, const moe_scratch *s) {
    mmoe_status status = MMOE_OK;
    if (b->count == 1) { /* the common case, as short as it can be */
        float *const products = (float *)(void *)s->products;
        mmoe_matvec(gate_up, b->in[0], products);
        return mmoe_swiglu_s8(products, gate_up->rows / 2, b->in[0]->scale, s->inner);
    }
    mmoe_matmul(gate_up, b->in, s->gates_ups, b->count, s->matmul);
    for (uint32_t i = 0; i < b->count && status == MMOE_OK; i++)
        status = mmoe_swiglu_s8(s->gates_ups[i], gate_up->rows / 2, b->in[i]->scale, s->inners[i]);
    return status;
}

static void run_down(const mmoe_matrix *down, const moe_batch *b, const moe_scratch *s) {
    if (b->count == 1)
        mmoe_matvec(down, s->inner, b->out[0]);
    else
        mmoe_matmul(down, (const mmoe_vector *const *)s->inners, b->out, b->count, s->matmul);
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

/* sums (b->count, hidden) = Shared(b->in), scaled where there is a gate; on entry it holds the normed x that the gate looks at. */
static inline mmoe_status run_scaled_shared(const mmoe_moe *moe, const moe_batch *b, float *sums, const moe_scratch *s) {
    for (uint32_t i = 0; i < b->count; i++) b->out[i] = moe->shared_gate ? output_row(s, i) : sums + i * moe->hidden;
    const mmoe_status status = run_shared(moe, b, s);
    if (!moe->shared_gate || status != MMOE_OK) return status;
    for (uint32_t i = 0; i < b->count; i++, sums += moe->hidden) {
        const float gate = mmoe_gate_f32(sums, moe->shared_gate, moe->hidden);
        memset(sums, 0, 4u * moe->hidden);
        mmoe_accumulate_f32(b->out[i], gate, moe->hidden, sums);
    }
    return MMOE_OK;
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
    float *out;
    const moe_batch b = {1, &q, &out};
    if (moe->shared_width) {
        const mmoe_status status = run_scaled_shared(moe, &b, sum, s);
        if (status != MMOE_OK) return status;
    } else {
        memset(sum, 0, 4u * moe->hidden);
    }
    for (uint32_t pass = 0; pass < 2; pass++) {
        for (uint32_t k = 0; k < top_k; k++) {
            if (hit[k] != 1 - pass) continue;
            out = output_row(s, k);
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

/* The rest of the scratch */
typedef struct {
    float *gate;     /* (chunk, top_k) */
    uint32_t *order; /* (chunk, top_k): choices, token * top_k + k, by their experts; those of one as the tokens come */
    uint32_t *first; /* (experts + 1): where the choices of an expert begin there */
    uint8_t *chosen; /* (chunk, top_k) */
    const mmoe_vector **in; /* (batch) */
    float **out;            /* (batch) */
    uint32_t batch;
} moe_chunk;

static moe_chunk divide_rest(const mmoe_moe *moe, uint32_t chunk, moe_scratch *s) {
    const uint32_t batch = MMOE_MOE_BATCH(chunk), choices = chunk * moe->router.top_k, ends = moe->router.experts + 1u;
    moe_chunk c = {.batch = batch};
    uint8_t *scratch = s->outputs + MMOE_MAX(moe->router.top_k, batch) * s->output_bytes;
    c.gate = (float *)(void *)scratch;
    c.order = (uint32_t *)(void *)c.gate + choices;
    c.first = c.order + choices;
    c.chosen = (uint8_t *)(c.first + ends);
    scratch += MMOE_PAD(9 * choices + 4 * ends, 16u);
    c.in = (const mmoe_vector **)(void *)scratch;
    c.out = (float **)(void *)(scratch + 8 * batch);
    s->inners = (mmoe_vector **)(void *)(scratch + 16 * batch);
    s->gates_ups = (float **)(void *)(scratch + 24 * batch);
    s->matmul = scratch + 32 * batch;
    for (uint32_t i = 0; i < batch; i++) {
        s->inners[i] = mmoe_vector_row(s->inner, s->width, i);
        s->gates_ups[i] = (float *)(void *)(s->products + i * s->product_bytes);
    }
    return c;
}

typedef struct {
    uint32_t from;    /* experts of the layer below this one were asked for */
    uint32_t count;   /* of the experts that were asked for last */
    uint16_t *number; /* (experts) of those, in the image */
    uint8_t *hit;     /* (experts) */
} moe_window;

static void route_tokens(mmoe_runtime *rt, const mmoe_moe *moe, const float *n, const moe_chunk *c, float *scratch) {
    const uint32_t top_k = moe->router.top_k, experts = moe->router.experts, choices = rt->rows * top_k;
    uint32_t *const first = c->first;
    for (uint32_t row = 0; row < rt->rows; row++)
        mmoe_route_f32(&moe->router, n + row * moe->hidden, moe->hidden, c->chosen + row * top_k, c->gate + row * top_k, scratch);
    memcpy(rt->routes + moe->layer * top_k, c->chosen + choices - top_k, top_k);
    memset(first, 0, 4 * (experts + 1));
    for (uint32_t i = 0; i < choices; i++) first[c->chosen[i]]++;
    for (uint32_t e = 1; e <= experts; e++) first[e] += first[e - 1]; /* where the choices of an expert end */
    for (uint32_t i = choices; i--;) c->order[--first[c->chosen[i]]] = i;
}

/* Experts that surely find a slot of this layer together */
static uint32_t window_size(const mmoe_model *model, const mmoe_moe *moe) {
    const uint16_t *first = model->first_slot;
    if (model->expert_place || model->slots == 0) return moe->router.top_k; /* room for one token's is in every plan */
    return first ? first[moe->layer + 1] - first[moe->layer] : model->slots;
}

/* Asks for the next experts of the layer. */
static void want_experts(mmoe_runtime *rt, const mmoe_moe *moe, const moe_chunk *c, moe_window *w) {
    const uint32_t first = moe->layer * (uint32_t)moe->router.experts, top_k = moe->router.top_k, most = window_size(rt->model, moe);
    const uint8_t *last = rt->routes + moe->layer * top_k;
    uint8_t *hit_flag = rt->routes + (rt->model->layers + (uint32_t)moe->layer) * top_k;
    w->count = 0;
    for (; w->from < moe->router.experts && w->count < most; w->from++)
        if (c->first[w->from] < c->first[w->from + 1]) w->number[w->count++] = (uint16_t)(first + w->from);
    if (w->count) mmoe_pager_want(w->number, w->count, w->hit);
    for (uint32_t i = 0; i < w->count; i++)
        for (uint32_t k = 0; k < top_k; k++)
            if (first + last[k] == w->number[i]) hit_flag[k] = w->hit[i];
}

/* sums = Shared(q) */
static mmoe_status run_all(mmoe_runtime *rt, const mmoe_moe *moe, const mmoe_vector *q, float *sums, const moe_chunk *c,
                           const moe_scratch *s) {
    moe_batch b = {0, c->in, c->out};
    for (uint32_t row = 0; row < rt->rows; row += b.count) {
        b.count = mmoe_next_batch(rt->rows - row, c->batch);
        for (uint32_t i = 0; i < b.count; i++) b.in[i] = mmoe_const_vector_row(q, moe->hidden, row + i);
        const mmoe_status status = run_scaled_shared(moe, &b, sums + row * moe->hidden, s);
        if (status != MMOE_OK) return status;
    }
    return MMOE_OK;
}

/* sums += gate * Expert(q) for the tokens that chose it */
static mmoe_status run_chosen(mmoe_runtime *rt, const mmoe_moe *moe, uint16_t number, const mmoe_vector *q, float *sums,
                              const moe_chunk *c, const moe_scratch *s) {
    const uint32_t top_k = moe->router.top_k, hidden = moe->hidden, expert = number - (uint32_t)moe->layer * moe->router.experts;
    const uint32_t *choice = c->order + c->first[expert], *const end = c->order + c->first[expert + 1];
    moe_batch b = {0, c->in, c->out};
    for (; choice < end; choice += b.count) {
        b.count = mmoe_next_batch((uint32_t)(end - choice), c->batch);
        for (uint32_t i = 0; i < b.count; i++) {
            b.in[i] = mmoe_const_vector_row(q, hidden, choice[i] / top_k);
            b.out[i] = output_row(s, i);
        }
        const mmoe_status status = run_expert(rt->model, number, &b, s);
        if (status != MMOE_OK) return status;
        for (uint32_t i = 0; i < b.count; i++)
            mmoe_accumulate_f32(b.out[i], c->gate[choice[i]], hidden, sums + choice[i] / top_k * hidden);
    }
    release_expert(number);
    return MMOE_OK;
}

static mmoe_status run_tokens(mmoe_runtime *rt, const mmoe_moe *moe, float *n, const mmoe_vector *q, float *x, moe_scratch *s) {
    const moe_chunk c = divide_rest(moe, rt->model->chunk, s);
    mmoe_status status = MMOE_OK;
    moe_window w = {.number = (uint16_t *)(void *)s->router}; /* once the routers are done with it */
    w.hit = (uint8_t *)(w.number + moe->router.experts);
    if (moe->router.top_k) {
        route_tokens(rt, moe, n, &c, s->router);
        want_experts(rt, moe, &c, &w);
    }
    if (moe->shared_width)
        status = run_all(rt, moe, q, n, &c, s);
    else
        memset(n, 0, 4u * rt->rows * moe->hidden);
    while (w.count && status == MMOE_OK) {
        for (uint32_t i = 0; i < w.count && status == MMOE_OK; i++) status = run_chosen(rt, moe, w.number[i], q, n, &c, s);
        if (status == MMOE_OK) want_experts(rt, moe, &c, &w);
    }
    if (status == MMOE_OK) mmoe_add_f32(n, rt->rows * moe->hidden, x);
    return status;
}

mmoe_status mmoe_op_moe(mmoe_runtime *rt, const mmoe_moe *moe, float *n, const mmoe_vector *q, float *x, void *scratch) {
    if (rt->rows == 1) {
        const moe_scratch s = divide_scratch(moe, 1, scratch);
        return run_token(rt, moe, n, q, x, &s);
    }
    moe_scratch s = divide_scratch(moe, MMOE_MOE_BATCH(rt->model->chunk), scratch);
    return run_tokens(rt, moe, n, q, x, &s);
}
