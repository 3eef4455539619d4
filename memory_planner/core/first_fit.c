/* First fit over a list of placed buffers sorted by offset, kept in blocks so that time ranges can be skipped. */
#include <stdlib.h>
#include <string.h>

#include "instance.h"

enum { BLOCK = 128, STOP_EVERY = 64, FEW = 1024 };

typedef struct {
    int32_t lower[BLOCK], upper[BLOCK];
    int64_t offset[BLOCK], top[BLOCK];
    int32_t first_lower, last_upper; /* time range of the whole block */
    int32_t used;
} block;

typedef struct {
    block **blocks;
    int32_t used, size;
    int64_t placed, kept; /* entries now, and after the last forgetting */
} shelf;

/* What remains to be placed: all of it lives inside [lower, upper). */
typedef struct {
    int32_t buffer, lower, upper;
} remaining;

static void refresh(block *k) {
    k->first_lower = INT32_MAX;
    k->last_upper = INT32_MIN;
    for (int32_t i = 0; i < k->used; ++i) {
        if (k->lower[i] < k->first_lower) k->first_lower = k->lower[i];
        if (k->upper[i] > k->last_upper) k->last_upper = k->upper[i];
    }
}

static void move(block *to, int32_t at, const block *from, int32_t first, int32_t count) {
    size_t n = (size_t)count;
    memmove(to->lower + at, from->lower + first, n * sizeof *to->lower);
    memmove(to->upper + at, from->upper + first, n * sizeof *to->upper);
    memmove(to->offset + at, from->offset + first, n * sizeof *to->offset);
    memmove(to->top + at, from->top + first, n * sizeof *to->top);
}

static int insert_block(shelf *s, int32_t at) {
    if (s->used == s->size) {
        int32_t size = s->size * 2 + 16;
        block **blocks = realloc(s->blocks, (size_t)size * sizeof *blocks);
        if (blocks == NULL) return MP_NO_MEMORY;
        s->blocks = blocks;
        s->size = size;
    }
    block *fresh = calloc(1, sizeof *fresh);
    if (fresh == NULL) return MP_NO_MEMORY;
    memmove(s->blocks + at + 1, s->blocks + at, (size_t)(s->used - at) * sizeof *s->blocks);
    s->blocks[at] = fresh;
    ++s->used;
    return MP_OK;
}

static int insert(shelf *s, int32_t lower, int32_t upper, int64_t offset, int64_t top) {
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
    ++s->placed;
    refresh(k);
    return MP_OK;
}

/* Drop what nothing that remains can meet: in an order by birth, all that has died. */
static void forget(shelf *s, const remaining *rest) {
    int32_t to = 0, filled = 0; /* entries go to block `to` */
    for (int32_t b = 0; b < s->used; ++b) {
        block *k = s->blocks[b];
        int32_t used = k->used;
        for (int32_t i = 0; i < used; ++i) {
            if (k->upper[i] <= rest->lower || k->lower[i] >= rest->upper) {
                --s->placed;
                continue;
            }
            if (filled == BLOCK) {
                s->blocks[to++]->used = filled;
                filled = 0;
            }
            move(s->blocks[to], filled++, k, i, 1);
        }
    }
    if (s->used > 0) s->blocks[to]->used = filled;
    int32_t kept = filled > 0 ? to + 1 : to;
    for (int32_t b = kept; b < s->used; ++b) free(s->blocks[b]);
    s->used = kept;
    for (int32_t b = 0; b < s->used; ++b) refresh(s->blocks[b]);
    s->kept = s->placed;
}

/* Entries of the block that are alive in [lower, upper), in their order. Returns how many. The loops go over the whole
 * block and have no branches, so that compilers use vectors and processors guess right. */
static int32_t list_meeting(const block *k, int32_t lower, int32_t upper, uint8_t *list) {
    uint8_t meets[BLOCK];
    for (int32_t i = 0; i < BLOCK; ++i) meets[i] = (uint8_t)((k->lower[i] < upper) & (k->upper[i] > lower));
    int32_t count = 0;
    for (int32_t i = 0; i < k->used; i += 8) {
        uint64_t any;
        memcpy(&any, meets + i, sizeof any);
        if (any == 0) continue;
        for (int32_t j = i; j < i + 8; ++j) {
            list[count] = (uint8_t)j;
            count += meets[j];
        }
    }
    while (count > 0 && list[count - 1] >= k->used) --count;
    return count;
}

static int64_t find_place(const shelf *s, int32_t lower, int32_t upper, int64_t size, int64_t alignment,
                          int best_fit) {
    int64_t top = 0, best = -1, best_gap = INT64_MAX;
    for (int32_t b = 0; b < s->used; ++b) {
        const block *k = s->blocks[b];
        if (k->last_upper <= lower || k->first_lower >= upper) continue;
        uint8_t list[BLOCK];
        int32_t count = list_meeting(k, lower, upper, list);
        for (int32_t i = 0; i < count; ++i) {
            int64_t offset = k->offset[list[i]], end = k->top[list[i]];
            if (offset - top >= size) {
                int64_t at = align_up(top, alignment), gap = offset - at;
                if (gap >= size && gap < best_gap) {
                    if (!best_fit) return at;
                    best = at;
                    best_gap = gap;
                }
            }
            top = end > top ? end : top;
        }
    }
    return best >= 0 ? best : align_up(top, alignment);
}

/* Pinned buffers first, else in the given order. NULL without memory or where a time is past 2^31. */
static remaining *list_remaining(int32_t count, const int64_t *lower, const int64_t *upper, const int64_t *pin,
                                 const int32_t *order, int *status) {
    remaining *rest = malloc(((size_t)count + 1) * sizeof *rest);
    *status = rest == NULL ? MP_NO_MEMORY : MP_OK;
    int32_t used = 0;
    for (int pinned = 1; pinned >= 0 && *status == MP_OK; --pinned)
        for (int32_t i = 0; i < count; ++i) {
            int32_t b = order[i];
            if (lower[b] < INT32_MIN || upper[b] > INT32_MAX || lower[b] >= upper[b]) *status = MP_BAD_INPUT;
            else if ((pin[b] >= 0) == pinned) rest[used++] = (remaining){b, (int32_t)lower[b], (int32_t)upper[b]};
        }
    if (*status != MP_OK) {
        free(rest);
        return NULL;
    }
    for (int32_t i = used - 2; i >= 0; --i) {
        if (rest[i + 1].lower < rest[i].lower) rest[i].lower = rest[i + 1].lower;
        if (rest[i + 1].upper > rest[i].upper) rest[i].upper = rest[i + 1].upper;
    }
    return rest;
}

int64_t mp_first_fit(int32_t count, const int64_t *lower, const int64_t *upper, const int64_t *size,
                     const int64_t *alignment, const int64_t *pin, const int32_t *order, int best_fit,
                     const volatile int32_t *stop, int64_t *offset) {
    shelf s = {NULL, 0, 0, 0, 0};
    int64_t peak = 0;
    int status;
    remaining *rest = list_remaining(count, lower, upper, pin, order, &status);
    for (int32_t i = 0; i < count && status == MP_OK; ++i) {
        if (stop != NULL && i % STOP_EVERY == 0 && *stop != 0) status = MP_STOPPED;
        if (s.placed > 2 * s.kept + FEW) forget(&s, &rest[i]);
        int32_t b = rest[i].buffer, from = (int32_t)lower[b], until = (int32_t)upper[b];
        offset[b] = pin[b] >= 0 ? pin[b] : find_place(&s, from, until, size[b], alignment[b], best_fit);
        int64_t top = offset[b] + size[b];
        if (status == MP_OK) status = insert(&s, from, until, offset[b], top);
        if (top > peak) peak = top;
    }
    for (int32_t b = 0; b < s.used; ++b) free(s.blocks[b]);
    free(s.blocks);
    free(rest);
    return status == MP_OK ? peak : status;
}
