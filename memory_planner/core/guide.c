/* Neighbourhoods of a known packing: most buffers keep their vertical order, the others are free. */
#include <stdlib.h>

#include "search.h"

typedef struct {
    int64_t offset;
    int32_t buffer;
} guided;

static int compare_guided(const void *a, const void *b) {
    const guided *x = a, *y = b;
    if (x->offset != y->offset) return x->offset < y->offset ? -1 : 1;
    return x->buffer - y->buffer;
}

/* Guided neighbours above b, lowest first. */
static int32_t list_above(const mp_search *s, const int64_t *guide, int32_t b, guided *list) {
    const mp_instance *in = s->in;
    int32_t count = 0;
    for (int64_t i = in->near_start[b]; i < in->near_start[b + 1]; ++i) {
        int32_t c = in->near[i];
        if (guide[c] > guide[b]) list[count++] = (guided){guide[c], c};
    }
    qsort(list, (size_t)count, sizeof *list, compare_guided);
    return count;
}

/* Keep only those that no kept one lies below: the others follow through it. Returns how many are kept. */
static int32_t keep_direct(const mp_instance *in, guided *list, int32_t count) {
    int32_t kept = 0;
    for (int32_t i = 0; i < count; ++i) {
        int32_t c = list[i].buffer, k = 0;
        while (k < kept && (in->lo[list[k].buffer] >= in->hi[c] || in->lo[c] >= in->hi[list[k].buffer])) ++k;
        if (k == kept) list[kept++] = list[i];
    }
    return kept;
}

/* Heads from below and limits from above along the order. */
static void tighten(mp_search *s, const guided *order, int32_t count) {
    const mp_instance *in = s->in;
    for (int32_t i = 0; i < count; ++i) {
        int32_t b = order[i].buffer;
        for (int64_t k = s->after_start[b]; k < s->after_start[b + 1]; ++k) {
            int32_t c = s->after[k];
            int64_t head = align_up(s->head[b] + in->size[b], in->alignment[c]);
            if (head > s->head[c]) s->head[c] = head;
        }
    }
    for (int32_t i = count - 1; i >= 0; --i) {
        int32_t b = order[i].buffer;
        for (int64_t k = s->after_start[b]; k < s->after_start[b + 1]; ++k) {
            int64_t limit = s->limit[s->after[k]] - in->size[b];
            if (limit < s->limit[b]) s->limit[b] = limit;
        }
        if (s->head[b] > s->limit[b]) s->verdict = MP_NONE;
    }
}

int mp_follow_guide(mp_search *s, const int64_t *guide, int64_t *budget) {
    const mp_instance *in = s->in;
    size_t n = (size_t)in->count;
    guided *list = malloc((n + 1) * sizeof *list);
    s->after_start = mp_alloc(budget, n + 1, sizeof *s->after_start);
    int64_t used = 0, size = 0;
    int status = list == NULL || s->after_start == NULL ? MP_NO_MEMORY : MP_OK;
    for (int32_t b = 0; b < in->count && status == MP_OK; ++b) {
        int32_t kept = guide[b] < 0 ? 0 : keep_direct(in, list, list_above(s, guide, b, list));
        if (used + kept > size) {
            size = 2 * size + kept + 64;
            int32_t *after = realloc(s->after, (size_t)size * sizeof *after);
            if (after == NULL) {
                status = MP_NO_MEMORY;
                break;
            }
            s->after = after;
        }
        for (int32_t k = 0; k < kept; ++k) s->after[used++] = list[k].buffer;
        s->after_start[b + 1] = used;
    }
    if (status == MP_OK) {
        int32_t count = 0;
        for (int32_t b = 0; b < in->count; ++b)
            if (guide[b] >= 0) list[count++] = (guided){guide[b], b};
        qsort(list, (size_t)count, sizeof *list, compare_guided);
        tighten(s, list, count);
    }
    free(list);
    return status;
}
