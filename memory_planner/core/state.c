/* Making and freeing the state of a search. */
#include <stdlib.h>
#include <string.h>

#include "search.h"

static int same_sections(const mp_instance *in, int32_t a, int32_t b) {
    return in->lo[a] == in->lo[b] && in->hi[a] == in->hi[b] && in->alignment[a] == in->alignment[b] &&
           in->pad[a] == in->pad[b] && in->pin[a] < 0 && in->pin[b] < 0;
}

/* Buffers over the same sections share a kind when a swap keeps alignment; identical ones form a chain. Both rules
 * put the one of lower rank below, so that each exchange makes the offsets in order of rank smaller and some packing
 * satisfies them all; and so that they never work against the order in which the search tries. */
static void find_twins(mp_search *s) {
    const mp_instance *in = s->in;
    for (int32_t b = 0; b < in->count; ++b) {
        s->twin[b] = s->twin_after[b] = -1;
        s->kind[b] = -1 - b;
    }
    for (int32_t b = 0; b < in->count; ++b) {
        if (s->kind[b] < 0) s->kind[b] = b;
        for (int64_t i = in->near_start[b]; i < in->near_start[b + 1]; ++i) {
            int32_t c = in->near[i];
            if (!same_sections(in, b, c)) continue;
            int whole = in->size[b] % in->alignment[b] == 0 && in->size[c] % in->alignment[c] == 0;
            if (c > b && s->kind[c] < 0 && whole) s->kind[c] = s->kind[b];
            if (has(s, MP_TECH_SYMMETRY) && in->size[b] == in->size[c] && s->order[c] > s->order[b] &&
                (s->twin_after[b] < 0 || s->order[c] < s->order[s->twin_after[b]]))
                s->twin_after[b] = c;
        }
        if (s->twin_after[b] >= 0) s->twin[s->twin_after[b]] = b;
    }
}

static int allocate(mp_search *s, int64_t *budget) {
    const mp_instance *in = s->in;
    size_t n = (size_t)in->count, m = (size_t)in->section_count;
#define TAKE(field, count) ((s->field = mp_alloc(budget, (count), sizeof *s->field)) != NULL)
    return TAKE(head, n) && TAKE(base, n) && TAKE(limit, n) && TAKE(passed, n) && TAKE(offset, n) &&
           TAKE(witness, n) && TAKE(twin, n) && TAKE(twin_after, n) && TAKE(kind, n) && TAKE(rank, n) && TAKE(order, n) &&
           TAKE(member, (size_t)in->member_count) && TAKE(alive, m) && TAKE(rest, m) && TAKE(first_count, m) &&
           TAKE(slack, m) && TAKE(weight, m) && TAKE(cross, m) && TAKE(queue, m) && TAKE(queued, m) && TAKE(frames, n + 2) &&
           TAKE(parts, 2 * n + 2);
#undef TAKE
}

mp_search *mp_search_create(const mp_instance *in, int64_t capacity, int strategy, uint32_t keys,
                            uint32_t seed, uint32_t techniques) {
    mp_search *s = calloc(1, sizeof *s);
    if (s == NULL) return NULL;
    s->in = in;
    s->capacity = capacity;
    s->techniques = techniques;
    s->strategy = strategy;
    s->part_head = -1;
    int64_t budget = in->budget;
    if (!allocate(s, &budget) || mp_rank_buffers(in, keys, seed, s->order) != MP_OK) {
        mp_search_destroy(s);
        return NULL;
    }
    if ((keys & 15u) == MP_KEY_TOTAL && has(s, MP_TECH_RERANK) && mp_prepare_rerank(s, keys, seed, &budget) != MP_OK) {
        mp_search_destroy(s);
        return NULL;
    }
    memcpy(s->rank, s->order, (size_t)in->count * sizeof *s->rank);
    memcpy(s->member, in->member, (size_t)in->member_count * sizeof *s->member);
    memcpy(s->rest, in->load, (size_t)in->section_count * sizeof *s->rest);
    for (int32_t b = 0; b < in->count; ++b) {
        s->passed[b] = s->offset[b] = s->witness[b] = -1;
        s->limit[b] = capacity - (in->size[b] - in->pad[b]);
        if (in->pin[b] >= 0) {
            s->head[b] = in->pin[b];
            if (in->pin[b] < s->limit[b]) s->limit[b] = in->pin[b];
        }
        if (s->head[b] > s->limit[b]) s->verdict = MP_NONE;
        for (int32_t t = in->lo[b]; t + 1 < in->hi[b]; ++t) ++s->cross[t];
    }
    for (int32_t t = 0; t < in->section_count; ++t) s->alive[t] = (int32_t)(in->start[t + 1] - in->start[t]);
    find_twins(s);
    for (int32_t b = 0; b < in->count; ++b) {
        if (s->twin[b] >= 0) continue;
        for (int32_t c = b, above; (above = s->twin_after[c]) >= 0; c = above)
            s->head[above] = align_up(s->head[c] + in->size[c], in->alignment[c]);
    }
    return s;
}

void mp_search_destroy(mp_search *s) {
    if (s == NULL) return;
    void *blocks[] = {s->head, s->base, s->limit, s->passed, s->offset, s->witness, s->twin, s->twin_after,
                      s->kind, s->rank, s->order, s->tie, s->part_items, s->member, s->alive, s->rest,
                      s->first_count, s->slack, s->weight, s->cross, s->queue, s->queued, s->frames, s->parts,
                      s->log, s->over};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; ++i) free(blocks[i]);
    free(s);
}
