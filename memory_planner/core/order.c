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

int mp_rank_buffers(const mp_instance *in, uint32_t keys, uint32_t seed, int32_t *rank) {
    sort_item *items = calloc((size_t)in->count + 1, sizeof *items);
    if (items == NULL) return MP_NO_MEMORY;
    for (int32_t b = 0; b < in->count; ++b) {
        items[b].buffer = b;
        for (int k = 0; k < 8; ++k) items[b].key[k] = key_of(in, b, (keys >> (4 * k)) & 15u, seed) * noise(b, seed);
    }
    qsort(items, (size_t)in->count, sizeof *items, compare_items);
    for (int32_t i = 0; i < in->count; ++i) rank[items[i].buffer] = i;
    free(items);
    return MP_OK;
}
