/* Static memory planning: place buffers with fixed lifetimes at the lowest peak.
 *
 * Every function is pure C11, takes no global state and prints nothing. Sizes and offsets are in units the
 * caller chooses (it divides by the common divisor); every sum stays below 2^62, which the caller checks.
 */
#ifndef MEMORY_PLANNER_H
#define MEMORY_PLANNER_H

#include <stdint.h>

#define MP_ABI 4

enum mp_status {
    MP_OK = 0,
    MP_NO_MEMORY = -1,  /* the memory limit or malloc said no */
    MP_BAD_INPUT = -2,  /* a size, lifetime or alignment that the caller should have refused */
    MP_STOPPED = -3,    /* *stop was set */
};

/* What a slice of search ended with. */
enum mp_verdict { MP_RUNNING = 0, MP_FOUND = 1, MP_NONE = 2 };

/* Techniques of the search; each can be switched off and measured. */
enum mp_technique {
    MP_TECH_SUFFIX_BOUND = 1 << 0,   /* section bound over every suffix of heads, not the lowest alone */
    MP_TECH_NOT_FIRST = 1 << 1,      /* raise heads of buffers that cannot be lowest in a section */
    MP_TECH_ACTIVE = 1 << 2,         /* a buffer is passed over only if another can block its place */
    MP_TECH_SYMMETRY = 1 << 3,       /* identical buffers in index order */
    MP_TECH_SWAP = 1 << 4,           /* of two stacked buffers with one lifetime the smaller lies below */
    MP_TECH_DECOMPOSE = 1 << 5,      /* independent time ranges are solved apart */
    MP_TECH_WEIGHTS = 1 << 6,        /* prefer sections where contradictions were met */
    MP_TECH_SUPPORT = 1 << 7,        /* a buffer rests on the floor or on another one */
    MP_TECH_CLIQUES = 1 << 8,        /* keep only the maximal sections */
    MP_TECH_RERANK = 1 << 9,         /* an order by MP_KEY_TOTAL counts anew in every independent part */
};

/* How the section to branch on is chosen. */
enum mp_strategy {
    MP_STRATEGY_FEWEST = 0,       /* fewest candidates, then least slack; candidates by static order alone */
    MP_STRATEGY_FEWEST_LOW = 1,   /* fewest candidates times a low floor plus slack */
    MP_STRATEGY_FEWEST_LOWER = 2, /* fewest candidates times the square of a low floor */
    MP_STRATEGY_FEWER_LOW = 3,    /* square of the candidates times a low floor */
    MP_STRATEGY_LOW = 4,          /* lowest floor */
    MP_STRATEGY_CLASSIC = 5,      /* the lowest buffer anywhere, by static order: no section is chosen */
    MP_STRATEGY_COUNT = 6,
};

/* The order in which candidates of a section are tried: keys of a buffer, most important first. */
enum mp_key {
    MP_KEY_NONE = 0,
    MP_KEY_WIDTH = 1,   /* sections covered, more first */
    MP_KEY_AREA = 2,    /* size * sections, more first */
    MP_KEY_TOTAL = 3,   /* load of the fullest section covered, more first */
    MP_KEY_SIZE = 4,    /* more first */
    MP_KEY_LOWER = 5,   /* earlier birth first */
    MP_KEY_UPPER = 6,   /* later death first */
    MP_KEY_RANDOM = 7,  /* by the seed */
    MP_KEY_SPAN = 8,    /* length of life, more first */
    MP_KEY_VOLUME = 9,  /* size * length of life, more first */
};

typedef struct mp_instance mp_instance;
typedef struct mp_search mp_search;

int mp_abi(void);

/* Lifetimes [lower, upper) half-open; span is their length in the caller's clock. pin[i] < 0 leaves buffer i free.
 * Returns NULL without memory or for a size, lifetime or alignment that the caller should have refused. */
mp_instance *mp_instance_create(int32_t count, const int64_t *lower, const int64_t *upper, const int64_t *size,
                                const int64_t *alignment, const int64_t *pin, const double *span,
                                int64_t memory_limit, uint32_t techniques);
void mp_instance_destroy(mp_instance *instance);
int64_t mp_instance_load(const mp_instance *instance);
int32_t mp_instance_section_count(const mp_instance *instance);

/* Decide "peak <= capacity" by exhaustive search. keys packs mp_key values, four bits each, first key lowest. */
mp_search *mp_search_create(const mp_instance *instance, int64_t capacity, int strategy, uint32_t keys,
                            uint32_t seed, uint32_t techniques);
void mp_search_destroy(mp_search *search);
/* Go on for at most max_nodes placements, or until *stop is not 0. Returns an mp_verdict. */
int mp_search_run(mp_search *search, int64_t max_nodes, const volatile int32_t *stop);
int64_t mp_search_nodes(const mp_search *search);
/* After MP_FOUND: offsets of every buffer. */
void mp_search_offsets(const mp_search *search, int64_t *offset);

/* First fit: place the buffers in the given order, each at the lowest offset that is free over its lifetime, or
 * with best_fit in the smallest gap that holds it. Pinned buffers (pin >= 0) are placed before all others.
 * Lifetimes lie within 31 bits: the caller numbers the distinct times. stop may be NULL. offset receives all offsets;
 * returns the peak, or a negative mp_status. */
int64_t mp_first_fit(int32_t count, const int64_t *lower, const int64_t *upper, const int64_t *size,
                     const int64_t *alignment, const int64_t *pin, const int32_t *order, int best_fit,
                     const volatile int32_t *stop, int64_t *offset);

#endif
