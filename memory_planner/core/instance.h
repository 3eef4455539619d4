/* Inside of an instance, shared by the searches. */
#ifndef MEMORY_PLANNER_INSTANCE_H
#define MEMORY_PLANNER_INSTANCE_H

#include <stddef.h>

#include "planner.h"

struct mp_instance {
    int32_t count;
    int32_t section_count;
    int64_t budget;       /* bytes that may still be allocated */
    int64_t *size;        /* per buffer, >= 1, rounded up to the common divisor of the alignments */
    int64_t *pad;         /* per buffer, what the rounding added; free at the top of a packing */
    int64_t *alignment;   /* per buffer, >= 1 */
    int64_t *pin;         /* per buffer, < 0: free */
    double *span;         /* per buffer, length of life */
    int32_t *lo, *hi;     /* per buffer, sections [lo, hi) */
    int64_t *start;       /* per section, first index in member; one more at the end */
    int64_t *load;        /* per section, sum of sizes */
    int64_t *loose;       /* per section, largest pad: the bytes that the topmost buffer may not need */
    int32_t *member;      /* buffers of each section */
    int64_t member_count;
    int64_t *near_start;  /* per buffer, first index in near */
    int32_t *near;        /* buffers that share a section with it */
};

/* calloc within a budget that it lowers; NULL when either says no. */
void *mp_alloc(int64_t *budget, size_t count, size_t width);

static inline int64_t align_up(int64_t value, int64_t alignment) {
    if (alignment <= 1) return value;
    int64_t rest = value % alignment;
    return rest == 0 ? value : value + (alignment - rest);
}

#endif
