/* Decide whether a peak can be reached: depth first, "here or higher" on one buffer at a time. */
#include <stdlib.h>
#include <string.h>

#include "search.h"

/* Placements only ever grow upward: a buffer is placed at its head when no unplaced neighbour fits below it. Then
 * every unplaced neighbour lies above. The second branch says "higher than here", so no packing is met twice. */

static void undo_to(mp_search *s, int64_t mark) {
    while (s->log_used > mark) {
        --s->log_used;
        *s->log[s->log_used].address = s->log[s->log_used].old;
    }
}

static void take_out(mp_search *s, int32_t b) {
    const mp_instance *in = s->in;
    for (int32_t t = in->lo[b]; t < in->hi[b]; ++t) {
        int32_t *member = s->member + in->start[t];
        int32_t count = s->alive[t], k = 0;
        while (member[k] != b) ++k;
        for (; k + 1 < count; ++k) member[k] = member[k + 1];
        member[count - 1] = b;
        s->alive[t] = count - 1;
        s->rest[t] -= in->size[b];
        if (t + 1 < in->hi[b]) --s->cross[t];
        mp_queue_section(s, t);
    }
}

static void put_back(mp_search *s, int32_t b) {
    const mp_instance *in = s->in;
    s->offset[b] = -1;
    for (int32_t t = in->lo[b]; t < in->hi[b]; ++t) {
        ++s->alive[t];
        s->rest[t] += in->size[b];
        if (t + 1 < in->hi[b]) ++s->cross[t];
    }
}

/* Place b at its head. Returns 0 on a contradiction; b is placed all the same. */
static int place(mp_search *s, int32_t b) {
    const mp_instance *in = s->in;
    int64_t at = s->head[b], top = at + in->size[b];
    s->offset[b] = at;
    take_out(s, b);
    int ok = 1;
    for (int64_t i = in->near_start[b]; i < in->near_start[b + 1] && ok; ++i) {
        int32_t c = in->near[i];
        if (s->offset[c] >= 0) continue;
        if (s->passed[c] >= 0 && at < s->passed[c] + in->size[c]) mp_write(s, &s->passed[c], -1);
        int64_t rise = align_up(top, in->alignment[c]);
        if (rise > s->base[c]) mp_write(s, &s->base[c], rise);
        ok = mp_raise_head(s, c, top);
    }
    return mp_propagate(s, ok);
}

/* Some buffer must be able to block every place that was passed over, else the buffer could sink into it. */
static int passed_over_stay_blocked(mp_search *s) {
    const mp_instance *in = s->in;
    for (int64_t k = 0; k < s->over_used; ++k) {
        int32_t b = s->over[k];
        if (s->offset[b] >= 0 || s->passed[b] < 0) continue;
        int64_t end = s->passed[b] + in->size[b];
        int32_t w = s->witness[b];
        if (w >= 0 && s->offset[w] < 0 && s->head[w] < end) continue;
        int found = 0;
        for (int64_t i = in->near_start[b]; i < in->near_start[b + 1] && !found; ++i) {
            int32_t c = in->near[i];
            if (s->offset[c] < 0 && s->head[c] < end) {
                s->witness[b] = c;
                found = 1;
            }
        }
        if (!found) return 0;
    }
    return 1;
}

/* b lies higher than its head, which rises to the lowest end of an unplaced neighbour. */
static int pass_over(mp_search *s, int32_t b) {
    const mp_instance *in = s->in;
    int64_t rise = INT64_MAX;
    for (int64_t i = in->near_start[b]; i < in->near_start[b + 1]; ++i) {
        int32_t c = in->near[i];
        if (s->offset[c] < 0 && s->head[c] + in->size[c] < rise) rise = s->head[c] + in->size[c];
    }
    if (rise == INT64_MAX) return 0;
    if (has(s, MP_TECH_ACTIVE) && s->passed[b] < 0 && in->pin[b] < 0) {
        if (s->over_used == s->over_size) {
            int64_t size = s->over_size * 2 + 256;
            int32_t *over = realloc(s->over, (size_t)size * sizeof *over);
            if (over == NULL) {
                s->failed_alloc = 1;
                return 0;
            }
            s->over = over;
            s->over_size = size;
        }
        s->over[s->over_used] = b;
        mp_write(s, &s->over_used, s->over_used + 1);
        mp_write(s, &s->passed[b], s->head[b]);
        s->witness[b] = -1;
    }
    return mp_propagate(s, mp_raise_head(s, b, rise));
}

/* The section to branch on: few candidates fail early, a low floor packs densely; the strategies weigh the two. */
static double score_section(const mp_search *s, int32_t t) {
    double count = s->first_count[t], floor = (double)s->head[s->member[s->in->start[t]]];
    double slack = (double)s->slack[t], unit = (double)s->capacity;
    switch (s->strategy) {
    case MP_STRATEGY_FEWEST: return count + slack / unit * 0.001;
    case MP_STRATEGY_FEWEST_LOW: return count * (floor + slack + 0.1 * unit);
    case MP_STRATEGY_FEWEST_LOWER: return count * (floor + 0.03 * unit) * (floor + 0.03 * unit);
    case MP_STRATEGY_FEWER_LOW: return count * count * (floor + 0.01 * unit);
    default: return floor + slack * 1e-6;
    }
}

static int32_t choose_section(const mp_search *s, int32_t first, int32_t last) {
    int32_t best = -1;
    double best_score = 0;
    for (int32_t t = first; t < last; ++t) {
        if (s->alive[t] == 0) continue;
        double score = score_section(s, t);
        if (has(s, MP_TECH_WEIGHTS)) score /= (double)(s->weight[t] + 1);
        if (best < 0 || score < best_score) {
            best = t;
            best_score = score;
        }
    }
    return best;
}

static int32_t choose_lowest(const mp_search *s, int32_t first, int32_t last) {
    int32_t best = -1;
    for (int32_t t = first; t < last; ++t) {
        const int32_t *member = s->member + s->in->start[t];
        for (int32_t i = 0; i < s->alive[t]; ++i) {
            int32_t b = member[i];
            if (best < 0 || s->head[b] < s->head[best] ||
                (s->head[b] == s->head[best] && s->rank[b] < s->rank[best]))
                best = b;
        }
    }
    return best;
}

static int32_t choose_candidate(const mp_search *s, int32_t section) {
    const int32_t *member = s->member + s->in->start[section];
    int64_t highest = s->capacity + s->in->loose[section] - s->rest[section];
    int lowest_first = s->strategy != MP_STRATEGY_FEWEST;
    int32_t best = -1;
    for (int32_t i = 0; i < s->alive[section]; ++i) {
        int32_t b = member[i];
        if (s->head[b] > highest) continue;
        int64_t order = best < 0 || !lowest_first ? 0 : s->head[b] - s->head[best];
        if (best < 0 || order < 0 || (order == 0 && s->rank[b] < s->rank[best])) best = b;
    }
    return best;
}

enum pick { PICK_NONE, PICK_PLACE, PICK_PASS, PICK_AGAIN };

/* Choose the next buffer of the frame's part. PICK_PASS: it must not lie at its head. PICK_AGAIN: a head rose. */
static enum pick choose(mp_search *s, const frame *f, int32_t *chosen) {
    const mp_instance *in = s->in;
    int32_t b = s->strategy != MP_STRATEGY_CLASSIC ? choose_candidate(s, choose_section(s, f->first, f->last))
                                           : choose_lowest(s, f->first, f->last);
    if (b < 0) return PICK_NONE;
    for (;;) {
        int32_t below = -1;
        int64_t lowest = INT64_MAX;
        int swapped = 0;
        for (int64_t i = in->near_start[b]; i < in->near_start[b + 1]; ++i) {
            int32_t c = in->near[i];
            if (s->offset[c] >= 0) {
                swapped |= s->kind[c] == s->kind[b] && s->order[c] > s->order[b] &&
                           s->offset[c] + in->size[c] == s->head[b];
                continue;
            }
            int64_t end = s->head[c] + in->size[c];
            if (end < lowest || (end == lowest && s->rank[c] < s->rank[below])) {
                lowest = end;
                below = c;
            }
        }
        if (lowest <= s->head[b]) {
            b = below;
            continue;
        }
        *chosen = b;
        if (has(s, MP_TECH_SUPPORT) && s->head[b] > s->base[b] && in->pin[b] < 0) {
            if (below < 0 || !mp_propagate(s, mp_raise_head(s, b, lowest))) return PICK_NONE;
            return PICK_AGAIN;
        }
        return swapped && has(s, MP_TECH_SWAP) ? PICK_PASS : PICK_PLACE;
    }
}

static void push_frame(mp_search *s, int32_t parent, int32_t first, int32_t last) {
    s->frames[s->depth++] = (frame){s->log_used, -1, parent, first, last, s->part_head, s->part_used};
}

/* Cut sections [first, last) wherever no unplaced buffer crosses; all parts become pending under parent. */
static void split(mp_search *s, int32_t parent, int32_t first, int32_t last) {
    int32_t begin = -1;
    for (int32_t t = first; t < last; ++t) {
        if (s->alive[t] == 0) continue;
        if (begin < 0) begin = t;
        if (t + 1 == last || s->cross[t] == 0) {
            if (t + 1 < last && !has(s, MP_TECH_DECOMPOSE)) continue;
            s->parts[s->part_used] = (part){begin, t + 1, parent, s->part_head};
            s->part_head = s->part_used++;
            begin = -1;
        }
    }
    if (begin >= 0) {
        s->parts[s->part_used] = (part){begin, last, parent, s->part_head};
        s->part_head = s->part_used++;
    }
}

/* Begin the next pending part. Returns 0 when there is none: everything is placed. */
static int open_part(mp_search *s) {
    if (s->part_head < 0) return 0;
    part p = s->parts[s->part_head];
    s->part_head = p.next;
    push_frame(s, p.parent, p.first, p.last);
    if (p.parent >= 0 && (p.first != s->frames[p.parent].first || p.last != s->frames[p.parent].last))
        mp_rerank_part(s, p.first, p.last);
    return 1;
}

/* The top frame has no way left: go back to its parent, take that one's buffer out and pass it over. Returns 0 at
 * the root. */
static int go_back(mp_search *s) {
    for (;;) {
        int32_t parent = s->frames[s->depth - 1].parent;
        if (parent < 0) return 0;
        while (s->depth > parent + 1) {
            --s->depth;
            if (s->frames[s->depth].buffer >= 0) put_back(s, s->frames[s->depth].buffer);
        }
        frame *f = &s->frames[parent];
        undo_to(s, f->mark);
        put_back(s, f->buffer);
        int32_t b = f->buffer;
        f->buffer = -1;
        s->part_head = f->pending;
        s->part_used = f->pending_used;
        if (pass_over(s, b)) {
            f->mark = s->log_used;
            return 1;
        }
        if (s->failed_alloc) return 0;
    }
}

int mp_search_run(mp_search *s, int64_t max_nodes, const volatile int32_t *stop) {
    if (s->verdict != MP_RUNNING) return s->verdict;
    if (!s->started) {
        s->started = 1;
        for (int32_t t = 0; t < s->in->section_count; ++t) mp_queue_section(s, t);
        if (!mp_propagate(s, 1)) return s->verdict = s->failed_alloc ? MP_NO_MEMORY : MP_NONE;
        split(s, -1, 0, s->in->section_count);
        if (!open_part(s)) return s->verdict = MP_FOUND;
    }
    int64_t end = s->nodes + max_nodes;
    while (s->nodes < end && (stop == NULL || *stop == 0)) {
        frame *f = &s->frames[s->depth - 1];
        int32_t b = -1;
        enum pick pick = PICK_NONE;
        if (!has(s, MP_TECH_ACTIVE) || passed_over_stay_blocked(s)) pick = choose(s, f, &b);
        ++s->nodes;
        if (pick == PICK_PLACE) {
            f->buffer = b;
            f->mark = s->log_used;
            if (place(s, b)) {
                split(s, s->depth - 1, f->first, f->last);
                if (!open_part(s)) return s->verdict = MP_FOUND;
                continue;
            }
            undo_to(s, f->mark);
            put_back(s, b);
            f->buffer = -1;
        }
        if (pick == PICK_AGAIN || (pick != PICK_NONE && pass_over(s, b))) {
            f->mark = s->log_used;
            continue;
        }
        if (s->failed_alloc) return s->verdict = MP_NO_MEMORY;
        if (!go_back(s)) return s->verdict = s->failed_alloc ? MP_NO_MEMORY : MP_NONE;
    }
    return MP_RUNNING;
}

int64_t mp_search_nodes(const mp_search *s) { return s->nodes; }

void mp_search_offsets(const mp_search *s, int64_t *offset) {
    memcpy(offset, s->offset, (size_t)s->in->count * sizeof *offset);
}
