/* First fit over a list of placed buffers sorted by offset, kept in blocks so that time ranges can be skipped. */
#include <stdlib.h>
#include <string.h>

#include "instance.h"

enum { BLOCK = 128 };

typedef struct {
    int64_t lower[BLOCK], upper[BLOCK], offset[BLOCK], top[BLOCK];
    int64_t first_lower, last_upper; /* time range of the whole block */
    int32_t used;
} block;

typedef struct {
    block **blocks;
    int32_t used, size;
} shelf;

static void refresh(block *k) {
    k->first_lower = INT64_MAX;
    k->last_upper = INT64_MIN;
    for (int32_t i = 0; i < k->used; ++i) {
        if (k->lower[i] < k->first_lower) k->first_lower = k->lower[i];
        if (k->upper[i] > k->last_upper) k->last_upper = k->upper[i];
    }
}

static void move(block *to, int32_t at, const block *from, int32_t first, int32_t count) {
    size_t bytes = (size_t)count * sizeof(int64_t);
    memmove(to->lower + at, from->lower + first, bytes);
    memmove(to->upper + at, from->upper + first, bytes);
    memmove(to->offset + at, from->offset + first, bytes);
    memmove(to->top + at, from->top + first, bytes);
}

static int insert_block(shelf *s, int32_t at) {
    if (s->used == s->size) {
        int32_t size = s->size * 2 + 16;
        block **blocks = realloc(s->blocks, (size_t)size * sizeof *blocks);
        if (blocks == NULL) return MP_NO_MEMORY;
        s->blocks = blocks;
        s->size = size;
    }
    block *fresh = malloc(sizeof *fresh);
    if (fresh == NULL) return MP_NO_MEMORY;
    fresh->used = 0;
    memmove(s->blocks + at + 1, s->blocks + at, (size_t)(s->used - at) * sizeof *s->blocks);
    s->blocks[at] = fresh;
    ++s->used;
    return MP_OK;
}

static int insert(shelf *s, int64_t lower, int64_t upper, int64_t offset, int64_t top) {
    if (s->used == 0 && insert_block(s, 0) != MP_OK) return MP_NO_MEMORY;
    int32_t low = 0, high = s->used - 1; /* last block whose first offset is <= offset */
    while (low < high) {
        int32_t middle = (low + high + 1) / 2;
        if (s->blocks[middle]->offset[0] <= offset) low = middle;
        else high = middle - 1;
    }
    block *k = s->blocks[low];
    if (k->used == BLOCK) {
        if (insert_block(s, low + 1) != MP_OK) return MP_NO_MEMORY;
        block *next = s->blocks[low + 1];
        move(next, 0, k, BLOCK / 2, BLOCK - BLOCK / 2);
        next->used = BLOCK - BLOCK / 2;
        k->used = BLOCK / 2;
        refresh(next);
        refresh(k);
        if (next->offset[0] <= offset) k = next;
    }
    int32_t i = k->used;
    while (i > 0 && k->offset[i - 1] > offset) --i;
    move(k, i + 1, k, i, k->used - i);
    k->lower[i] = lower;
    k->upper[i] = upper;
    k->offset[i] = offset;
    k->top[i] = top;
    ++k->used;
    refresh(k);
    return MP_OK;
}

static int64_t find_place(const shelf *s, int64_t lower, int64_t upper, int64_t size, int64_t alignment,
                          int best_fit) {
    int64_t at = 0, best = -1, best_gap = INT64_MAX;
    for (int32_t b = 0; b < s->used; ++b) {
        const block *k = s->blocks[b];
        if (k->last_upper <= lower || k->first_lower >= upper) continue;
        for (int32_t i = 0; i < k->used; ++i) {
            if (k->lower[i] >= upper || k->upper[i] <= lower) continue;
            int64_t gap = k->offset[i] - at;
            if (gap >= size && gap < best_gap) {
                if (!best_fit) return at;
                best = at;
                best_gap = gap;
            }
            if (k->top[i] > at) at = align_up(k->top[i], alignment);
        }
    }
    return best >= 0 ? best : at;
}

int64_t mp_first_fit(int32_t count, const int64_t *lower, const int64_t *upper, const int64_t *size,
                     const int64_t *alignment, const int64_t *pin, const int32_t *order, int best_fit,
                     int64_t *offset) {
    shelf s = {NULL, 0, 0};
    int64_t peak = 0;
    int status = MP_OK;
    for (int pinned = 1; pinned >= 0; --pinned)
        for (int32_t i = 0; i < count && status == MP_OK; ++i) {
            int32_t b = order[i];
            if ((pin[b] >= 0) != pinned) continue;
            offset[b] = pinned ? pin[b] : find_place(&s, lower[b], upper[b], size[b], alignment[b], best_fit);
            int64_t top = offset[b] + size[b];
            status = insert(&s, lower[b], upper[b], offset[b], top);
            if (top > peak) peak = top;
        }
    for (int32_t b = 0; b < s.used; ++b) free(s.blocks[b]);
    free(s.blocks);
    return status == MP_OK ? peak : status;
}
