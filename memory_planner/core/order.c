/* Static orders: which buffer is tried first. */
#include <stdlib.h>

#include "search.h"

typedef struct {
    double key[8];
    int32_t buffer;
} sort_item;

static int compare_items(const void *a, const void *b) {
    const sort_item *x = a, *y = b;
    for (int k = 0; k < 8; ++k)
        if (x->key[k] != y->key[k]) return x->key[k] > y->key[k] ? -1 : 1;
    return x->buffer - y->buffer;
}

static uint64_t mix(uint64_t x) { /* splitmix64, public domain */
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

static double key_of(const mp_instance *in, int32_t b, uint32_t key, uint32_t seed) {
    double width = in->hi[b] - in->lo[b];
    int64_t total = 0;
    switch (key) {
    case MP_KEY_WIDTH: return width;
    case MP_KEY_AREA: return (double)in->size[b] * width;
    case MP_KEY_TOTAL:
        for (int32_t s = in->lo[b]; s < in->hi[b]; ++s)
            if (in->load[s] > total) total = in->load[s];
        return (double)total;
    case MP_KEY_SIZE: return (double)in->size[b];
    case MP_KEY_LOWER: return (double)(in->section_count - in->lo[b]);
    case MP_KEY_UPPER: return in->hi[b];
    case MP_KEY_RANDOM: return (double)(mix(((uint64_t)seed << 32) + (uint64_t)b) >> 12);
    case MP_KEY_SPAN: return in->span[b];
    case MP_KEY_VOLUME: return (double)in->size[b] * in->span[b];
    default: return 0;
    }
}

/* A factor around 1, so that restarts differ: the wider, the later in the turn of seeds. Seed 0 leaves the order. */
static double noise(int32_t b, uint32_t seed) {
    static const double width[4] = {0.0, 0.05, 0.15, 0.4};
    if (seed == 0) return 1.0;
    double unit = (double)(mix(~((uint64_t)seed << 32) ^ (uint64_t)b) >> 11) / 9007199254740992.0;
    return 1.0 + width[(seed / 7) % 4] * (unit - 0.5);
}

int mp_rank_buffers(const mp_instance *in, uint32_t keys, uint32_t seed, int64_t *rank) {
    sort_item *items = calloc((size_t)in->count + 1, sizeof *items);
    if (items == NULL) return MP_NO_MEMORY;
    for (int32_t b = 0; b < in->count; ++b) {
        items[b].buffer = b;
        for (int k = 0; k < 8; ++k) {
            uint32_t key = (keys >> (4 * k)) & 15u;
            items[b].key[k] = key_of(in, b, key, seed) * (key == MP_KEY_TOTAL ? 1.0 : noise(b, seed));
        }
    }
    qsort(items, (size_t)in->count, sizeof *items, compare_items);
    for (int32_t i = 0; i < in->count; ++i) rank[items[i].buffer] = i;
    free(items);
    return MP_OK;
}

int mp_prepare_rerank(mp_search *s, uint32_t keys, uint32_t seed, int64_t *budget) {
    size_t n = (size_t)s->in->count;
    s->tie = mp_alloc(budget, n, sizeof *s->tie);
    s->part_items = mp_alloc(budget, n, sizeof *s->part_items);
    if (s->tie == NULL || s->part_items == NULL) return MP_NO_MEMORY;
    return mp_rank_buffers(s->in, keys >> 4, seed, s->tie);
}

static int compare_part_items(const void *a, const void *b) {
    const part_item *x = a, *y = b;
    if (x->total != y->total) return x->total > y->total ? -1 : 1;
    return x->tie < y->tie ? -1 : 1;
}

void mp_rerank_part(mp_search *s, int32_t first, int32_t last) {
    const mp_instance *in = s->in;
    if (s->tie == NULL) return;
    size_t count = 0;
    for (int32_t t = first; t < last; ++t)
        for (int32_t i = 0; i < s->alive[t]; ++i) {
            int32_t b = s->member[in->start[t] + i];
            if (in->lo[b] != t) continue;
            int64_t total = 0;
            for (int32_t u = in->lo[b]; u < in->hi[b]; ++u)
                if (s->rest[u] > total) total = s->rest[u];
            s->part_items[count++] = (part_item){total, s->tie[b], b};
        }
    qsort(s->part_items, count, sizeof *s->part_items, compare_part_items);
    for (size_t i = 0; i < count; ++i)
        if (s->rank[s->part_items[i].buffer] != (int64_t)i) mp_write(s, &s->rank[s->part_items[i].buffer], (int64_t)i);
}
