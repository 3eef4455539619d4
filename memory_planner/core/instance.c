/* Lifetimes to sections: the cliques of buffers that must not share an address. */
#include "instance.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    int64_t time;
    int32_t buffer;
    int32_t birth; /* deaths (0) come before births (1) at one time */
} event;

static int compare_events(const void *a, const void *b) {
    const event *x = a, *y = b;
    if (x->time != y->time) return x->time < y->time ? -1 : 1;
    if (x->birth != y->birth) return x->birth - y->birth;
    return x->buffer - y->buffer;
}

int mp_abi(void) { return MP_ABI; }

void *mp_alloc(int64_t *budget, size_t count, size_t width) {
    if (count == 0) count = 1;
    if (count > (size_t)INT64_MAX / width || (int64_t)(count * width) > *budget) return NULL;
    void *block = calloc(count, width);
    if (block != NULL) *budget -= (int64_t)(count * width);
    return block;
}

/* Number the sections along the sorted events. With keep_maximal, a section ends at the first death after a
 * birth, so that every section is a maximal clique; otherwise at every distinct time. */
static void number_sections(mp_instance *in, const event *events, int32_t event_count, int keep_maximal) {
    int32_t section = 0, born = 0;
    for (int32_t i = 0; i < event_count; ++i) {
        const event *e = &events[i];
        if (!keep_maximal && i > 0 && events[i - 1].time != e->time) ++section;
        if (e->birth) {
            in->lo[e->buffer] = section;
            born = 1;
        } else {
            if (keep_maximal && born) {
                ++section;
                born = 0;
            }
            in->hi[e->buffer] = section;
        }
    }
    in->section_count = section;
}

static int build_members(mp_instance *in) {
    int64_t total = 0;
    for (int32_t b = 0; b < in->count; ++b) total += in->hi[b] - in->lo[b];
    in->member_count = total;
    in->start = mp_alloc(&in->budget, (size_t)in->section_count + 1, sizeof *in->start);
    in->load = mp_alloc(&in->budget, (size_t)in->section_count, sizeof *in->load);
    in->loose = mp_alloc(&in->budget, (size_t)in->section_count, sizeof *in->loose);
    in->member = mp_alloc(&in->budget, (size_t)total, sizeof *in->member);
    if (in->loose == NULL || in->start == NULL || in->load == NULL || in->member == NULL) return MP_NO_MEMORY;
    for (int32_t b = 0; b < in->count; ++b)
        for (int32_t s = in->lo[b]; s < in->hi[b]; ++s) {
            ++in->start[s + 1];
            in->load[s] += in->size[b];
            if (in->pad[b] > in->loose[s]) in->loose[s] = in->pad[b];
        }
    for (int32_t s = 0; s < in->section_count; ++s) in->start[s + 1] += in->start[s];
    int64_t *fill = calloc((size_t)in->section_count + 1, sizeof *fill);
    if (fill == NULL) return MP_NO_MEMORY;
    for (int32_t b = 0; b < in->count; ++b)
        for (int32_t s = in->lo[b]; s < in->hi[b]; ++s) in->member[in->start[s] + fill[s]++] = b;
    free(fill);
    return MP_OK;
}

/* Two buffers are neighbours when they share a section; found once each, at the later one's first section. */
static int build_neighbours(mp_instance *in) {
    int64_t *count = calloc((size_t)in->count + 1, sizeof *count);
    in->near_start = mp_alloc(&in->budget, (size_t)in->count + 1, sizeof *in->near_start);
    if (count == NULL || in->near_start == NULL) {
        free(count);
        return MP_NO_MEMORY;
    }
    for (int pass = 0; pass < 2; ++pass) {
        for (int32_t b = 0; b < in->count; ++b) {
            int32_t s = in->lo[b];
            for (int64_t i = in->start[s]; i < in->start[s + 1]; ++i) {
                int32_t c = in->member[i];
                if (in->lo[c] > in->lo[b] || (in->lo[c] == in->lo[b] && c >= b)) continue;
                if (pass == 1) {
                    in->near[in->near_start[b] + count[b]] = c;
                    in->near[in->near_start[c] + count[c]] = b;
                }
                ++count[b];
                ++count[c];
            }
        }
        if (pass == 1) break;
        for (int32_t b = 0; b < in->count; ++b) {
            in->near_start[b + 1] = in->near_start[b] + count[b];
            count[b] = 0;
        }
        in->near = mp_alloc(&in->budget, (size_t)in->near_start[in->count], sizeof *in->near);
        if (in->near == NULL) {
            free(count);
            return MP_NO_MEMORY;
        }
    }
    free(count);
    return MP_OK;
}

static int build(mp_instance *in, const int64_t *lower, const int64_t *upper, uint32_t techniques) {
    size_t n = (size_t)in->count;
    event *events = malloc((2 * n + 1) * sizeof *events);
    if (events == NULL) return MP_NO_MEMORY;
    int32_t event_count = 0;
    for (int32_t b = 0; b < in->count; ++b) {
        events[event_count++] = (event){lower[b], b, 1};
        events[event_count++] = (event){upper[b], b, 0};
    }
    qsort(events, (size_t)event_count, sizeof *events, compare_events);
    number_sections(in, events, event_count, (techniques & MP_TECH_CLIQUES) != 0);
    free(events);
    int status = build_members(in);
    return status == MP_OK ? build_neighbours(in) : status;
}

static int64_t divisor(int64_t a, int64_t b) {
    while (b != 0) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

mp_instance *mp_instance_create(int32_t count, const int64_t *lower, const int64_t *upper, const int64_t *size,
                                const int64_t *alignment, const int64_t *pin, const double *span,
                                int64_t memory_limit, uint32_t techniques) {
    mp_instance *in = calloc(1, sizeof *in);
    if (in == NULL) return NULL;
    in->count = count;
    in->budget = memory_limit;
    size_t n = (size_t)count;
    in->size = mp_alloc(&in->budget, n, sizeof *in->size);
    in->pad = mp_alloc(&in->budget, n, sizeof *in->pad);
    in->alignment = mp_alloc(&in->budget, n, sizeof *in->alignment);
    in->pin = mp_alloc(&in->budget, n, sizeof *in->pin);
    in->span = mp_alloc(&in->budget, n, sizeof *in->span);
    in->lo = mp_alloc(&in->budget, n, sizeof *in->lo);
    in->hi = mp_alloc(&in->budget, n, sizeof *in->hi);
    if (in->size == NULL || in->pad == NULL || in->alignment == NULL || in->pin == NULL || in->span == NULL ||
        in->lo == NULL || in->hi == NULL) {
        mp_instance_destroy(in);
        return NULL;
    }
    int64_t step = 0;
    for (int32_t b = 0; b < count; ++b) step = divisor(step, alignment[b]);
    for (int32_t b = 0; b < count; ++b) {
        in->size[b] = align_up(size[b], step);
        in->pad[b] = in->size[b] - size[b];
        in->alignment[b] = alignment[b];
        in->pin[b] = pin[b];
        in->span[b] = span[b];
        if (size[b] < 1 || alignment[b] < 1 || lower[b] >= upper[b]) {
            mp_instance_destroy(in);
            return NULL;
        }
    }
    if (build(in, lower, upper, techniques) != MP_OK) {
        mp_instance_destroy(in);
        return NULL;
    }
    return in;
}

void mp_instance_destroy(mp_instance *in) {
    if (in == NULL) return;
    free(in->size);
    free(in->pad);
    free(in->loose);
    free(in->alignment);
    free(in->pin);
    free(in->span);
    free(in->lo);
    free(in->hi);
    free(in->start);
    free(in->load);
    free(in->member);
    free(in->near_start);
    free(in->near);
    free(in);
}

int64_t mp_instance_load(const mp_instance *in) {
    int64_t load = 0;
    for (int32_t s = 0; s < in->section_count; ++s)
        if (in->load[s] - in->loose[s] > load) load = in->load[s] - in->loose[s];
    return load;
}

int32_t mp_instance_section_count(const mp_instance *in) { return in->section_count; }
