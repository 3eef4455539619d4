/* State of one exhaustive search, shared by its propagation and its branching. */
#ifndef MEMORY_PLANNER_SEARCH_H
#define MEMORY_PLANNER_SEARCH_H

#include "instance.h"

typedef struct {
    int64_t *address;
    int64_t old;
} undo;

/* One decision: "buffer lies at its head" first, "buffer lies higher" second. */
typedef struct {
    int64_t mark;            /* length of the undo log before the decision */
    int32_t buffer;          /* placed here, or -1 */
    int32_t parent;          /* frame to go back to when this one has no way left; -1: the root */
    int32_t first, last;     /* sections [first, last) of the independent part being solved */
    int32_t pending;         /* head of the list of parts still to be solved */
    int32_t pending_used;
} frame;

typedef struct {
    int32_t first, last, parent, next;
} part;

typedef struct {
    int64_t total; /* bytes left in the fullest section of the buffer */
    int64_t tie;
    int32_t buffer;
} part_item;

struct mp_search {
    const mp_instance *in;
    int64_t capacity;
    uint32_t techniques;
    int strategy;
    int64_t nodes;
    int verdict;
    int started;

    int64_t *head;       /* per buffer: lowest offset that is still possible */
    int64_t *base;       /* per buffer: top of what has been placed below it */
    int64_t *limit;      /* per buffer: highest offset allowed */
    int64_t *passed;     /* per buffer: offset it was passed over at and nothing blocks yet; -1: none */
    int64_t *offset;     /* per buffer: -1 until placed */
    int32_t *witness;    /* per buffer: a neighbour that can still block the place passed over */
    int32_t *twin;       /* per buffer: the identical one that must lie below; -1: none */
    int32_t *twin_after; /* inverse of twin */
    int32_t *kind;       /* per buffer: number shared by buffers over the same sections that may be swapped */
    int64_t *rank;       /* per buffer: place in the order of trial, low first */
    int64_t *order;      /* per buffer: its rank at the beginning, by which symmetric ones are told apart */
    int64_t *tie;        /* per buffer: its place among those of equal total; NULL where the order stays as it is */
    part_item *part_items;

    int32_t *member;     /* per section: unplaced buffers first, by head */
    int32_t *alive;      /* per section: number of unplaced buffers */
    int64_t *rest;       /* per section: bytes of unplaced buffers */
    int64_t *first_count;/* per section: buffers that can be the lowest unplaced one */
    int64_t *slack;      /* per section: capacity minus the section's bound */
    int64_t *weight;     /* per section: contradictions met there, decayed */
    int32_t *cross;      /* per section: unplaced buffers in it and in the next one */

    int32_t *queue;      /* sections whose bound must be looked at again */
    uint8_t *queued;
    int32_t queue_first, queue_length;

    undo *log;
    int64_t log_used, log_size;
    int32_t *over;       /* stack of buffers passed over */
    int64_t over_used;   /* int64_t so that the undo log can hold it */
    int64_t over_size;

    frame *frames;
    int32_t depth;
    part *parts;
    int32_t part_used, part_head;
    int failed_alloc;
};

/* Raise a head and queue what it touches. Returns 0 when the buffer no longer fits. */
int mp_raise_head(mp_search *s, int32_t buffer, int64_t value);
/* Write through the undo log. */
void mp_write(mp_search *s, int64_t *address, int64_t value);
/* Look at the queued sections until nothing changes; with ok 0 only empty the queue. Returns 0 on a contradiction. */
int mp_propagate(mp_search *s, int ok);
void mp_queue_section(mp_search *s, int32_t section);
/* Static order of the buffers by the packed keys. Returns MP_OK or MP_NO_MEMORY. */
int mp_rank_buffers(const mp_instance *in, uint32_t keys, uint32_t seed, int64_t *rank);
/* Rank the unplaced buffers of an independent part by the bytes left in it; nothing where keys do not begin with
 * MP_KEY_TOTAL. */
int mp_prepare_rerank(mp_search *s, uint32_t keys, uint32_t seed, int64_t *budget);
void mp_rerank_part(mp_search *s, int32_t first, int32_t last);

static inline int has(const mp_search *s, uint32_t technique) { return (s->techniques & technique) != 0; }

#endif
