/* What follows from the decisions so far: raised heads, or a contradiction. */
#include <stdlib.h>

#include "search.h"

void mp_write(mp_search *s, int64_t *address, int64_t value) {
    if (s->log_used == s->log_size) {
        int64_t size = s->log_size * 2 + 1024;
        undo *log = realloc(s->log, (size_t)size * sizeof *log);
        if (log == NULL) {
            s->failed_alloc = 1; /* the run loop gives up; the write below is lost with the search */
            return;
        }
        s->log = log;
        s->log_size = size;
    }
    s->log[s->log_used++] = (undo){address, *address};
    *address = value;
}

void mp_queue_section(mp_search *s, int32_t section) {
    if (s->queued[section]) return;
    s->queued[section] = 1;
    int32_t at = s->queue_first + s->queue_length;
    if (at >= s->in->section_count) at -= s->in->section_count;
    s->queue[at] = section;
    ++s->queue_length;
}

int mp_raise_head(mp_search *s, int32_t b, int64_t value) {
    value = align_up(value, s->in->alignment[b]);
    if (value <= s->head[b]) return 1;
    if (value > s->limit[b]) return 0;
    mp_write(s, &s->head[b], value);
    for (int32_t t = s->in->lo[b]; t < s->in->hi[b]; ++t) mp_queue_section(s, t);
    int32_t above = s->twin_after[b];
    return above < 0 || s->offset[above] >= 0 || mp_raise_head(s, above, value + s->in->size[b]);
}

static void sort_by_head(int32_t *member, int32_t count, const int64_t *head) {
    for (int32_t i = 1; i < count; ++i) {
        int32_t b = member[i];
        int64_t h = head[b];
        int32_t k = i;
        for (; k > 0 && head[member[k - 1]] > h; --k) member[k] = member[k - 1];
        member[k] = b;
    }
}

/* One section is one machine: its unplaced buffers must follow one another, each from its head on. The bound is
 * the largest "lowest head of a suffix plus its bytes"; a buffer with head + rest > capacity cannot be the lowest. */
static int look_at_section(mp_search *s, int32_t section) {
    int32_t count = s->alive[section];
    if (count == 0) return 1;
    int32_t *member = s->member + s->in->start[section];
    sort_by_head(member, count, s->head);
    int64_t capacity = s->capacity + s->in->loose[section];
    int64_t rest = s->rest[section], bound = s->head[member[0]] + rest;
    if (bound > capacity) return 0;
    if (has(s, MP_TECH_SUFFIX_BOUND)) {
        int64_t left = rest;
        for (int32_t i = 0; i < count; ++i) {
            int64_t end = s->head[member[i]] + left;
            if (end > bound) bound = end;
            left -= s->in->size[member[i]];
        }
        if (bound > capacity) return 0;
    }
    if (s->slack[section] != capacity - bound) mp_write(s, &s->slack[section], capacity - bound);
    int64_t highest = capacity - rest, earliest = INT64_MAX;
    int32_t first = 0;
    for (; first < count && s->head[member[first]] <= highest; ++first) {
        int64_t end = s->head[member[first]] + s->in->size[member[first]];
        if (end < earliest) earliest = end;
    }
    if (s->first_count[section] != first) mp_write(s, &s->first_count[section], first);
    if (has(s, MP_TECH_NOT_FIRST))
        for (int32_t i = first; i < count && s->head[member[i]] < earliest; ++i)
            if (!mp_raise_head(s, member[i], earliest)) return 0;
    return 1;
}

int mp_propagate(mp_search *s, int ok) {
    while (s->queue_length > 0) {
        int32_t section = s->queue[s->queue_first];
        if (++s->queue_first == s->in->section_count) s->queue_first = 0;
        --s->queue_length;
        s->queued[section] = 0;
        if (ok) {
            ok = look_at_section(s, section);
            if (!ok) ++s->weight[section];
        }
    }
    return ok && !s->failed_alloc;
}
