/* SPDX-License-Identifier: Apache-2.0
 *
 * Matrix products split over threads, always in the same way: each thread has a run of whole tiles of rows. A row is a sum of
 * its own, so the bits are those of one thread. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "host_port.h"
#include "mmoe_kernels.h"

void mmoe_port_matvec(const mmoe_matrix *w, const mmoe_vector *x, float *y);
void mmoe_port_matmul(const mmoe_matrix *w, const mmoe_vector *const *x, float *const *y, uint32_t count, void *scratch);

enum {
    MOST_THREADS = 16,
    LEAST_WEIGHTS = 1 << 15, /* of a product that is worth a split */
    SPINS = 4000,            /* before a thread gives its core back: longer than what lies between two products of a token */
};

static struct {
    const mmoe_matrix *matrix;
    const mmoe_vector *const *in;
    float *const *out;
    uint32_t count;
    void *scratch;
} job;

static uint32_t threads = 1;
static _Atomic uint32_t turn, working;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wakes = PTHREAD_COND_INITIALIZER;
static uint32_t asleep;
static void *own_scratch[MOST_THREADS]; /* of every thread but the first, which has the caller's */

static void relax(uint32_t spin) {
    if (spin >= SPINS)
        sched_yield();
#if defined(__x86_64__)
    else
        __builtin_ia32_pause();
#elif defined(__aarch64__)
    else
        __asm__ volatile("yield");
#endif
}

/* Thread `part` of `threads`: its tiles of four rows */
static void run_part(uint32_t part) {
    const mmoe_matrix *w = job.matrix;
    const uint64_t tiles = (w->rows + MMOE_ROWS - 1) / MMOE_ROWS;
    const size_t first = (size_t)(tiles * part / threads), end = (size_t)(tiles * (part + 1) / threads);
    const size_t blocks = w->bits == 4 ? MMOE_GROUPS((size_t)w->columns) : MMOE_PAD((size_t)w->columns, 16u) / 16;
    const uint32_t from = MMOE_ROWS * (uint32_t)first;
    if (first == end) return;
    const mmoe_matrix rows = {
        .rows = (end == tiles ? w->rows : MMOE_ROWS * (uint32_t)end) - from,
        .columns = w->columns,
        .bits = w->bits,
        .weights = (const uint8_t *)w->weights + 64 * blocks * first,
        .group_scales = w->group_scales ? w->group_scales + MMOE_ROWS * blocks * first : NULL,
        .row_scales = w->row_scales + from,
    };
    float *out[MMOE_BATCH];
    for (uint32_t i = 0; i < job.count; i++) out[i] = job.out[i] + from;
    if (job.count == 1)
        mmoe_matvec(&rows, job.in[0], out[0]);
    else
        mmoe_matmul(&rows, job.in, out, job.count, part ? own_scratch[part] : job.scratch);
}

static void *serve(void *number) {
    const uint32_t part = (uint32_t)(uintptr_t)number;
    for (uint32_t seen = 0;;) {
        for (uint32_t spin = 0; spin < SPINS && atomic_load(&turn) == seen; spin++) relax(spin);
        if (atomic_load(&turn) == seen) {
            pthread_mutex_lock(&lock);
            asleep++;
            while (atomic_load(&turn) == seen) pthread_cond_wait(&wakes, &lock);
            asleep--;
            pthread_mutex_unlock(&lock);
        }
        seen++;
        run_part(part);
        atomic_fetch_sub(&working, 1);
    }
    return NULL;
}

int host_threads_open(uint32_t count) {
    pthread_t thread;
    if (count < 1 || count > MOST_THREADS) {
        fprintf(stderr, "--threads takes 1..%d\n", MOST_THREADS);
        return -1;
    }
    threads = count;
    for (uint32_t part = 1; part < count; part++) {
        own_scratch[part] = aligned_alloc(64, MMOE_PAD(MMOE_MATMUL_SCRATCH_BYTES(MMOE_MAX_COLUMNS), 64));
        if (!own_scratch[part] || pthread_create(&thread, NULL, serve, (void *)(uintptr_t)part)) {
            fputs("cannot start a thread\n", stderr);
            return -1;
        }
    }
    return 0;
}

void mmoe_port_matmul(const mmoe_matrix *w, const mmoe_vector *const *x, float *const *y, uint32_t count, void *scratch) {
    if (threads == 1 || (uint64_t)w->rows * w->columns < LEAST_WEIGHTS) {
        mmoe_matmul(w, x, y, count, scratch);
        return;
    }
    job.matrix = w, job.in = x, job.out = y, job.count = count, job.scratch = scratch;
    atomic_store(&working, threads - 1);
    pthread_mutex_lock(&lock);
    atomic_fetch_add(&turn, 1);
    if (asleep) pthread_cond_broadcast(&wakes);
    pthread_mutex_unlock(&lock);
    run_part(0);
    for (uint32_t spin = 0; atomic_load(&working); spin++) relax(spin);
}

void mmoe_port_matvec(const mmoe_matrix *w, const mmoe_vector *x, float *y) { mmoe_port_matmul(w, &x, &y, 1, NULL); }
