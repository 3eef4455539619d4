/* SPDX-License-Identifier: Apache-2.0
 *
 * Work split over threads, always in the same way: of a matrix product each thread has a run of whole tiles of rows, of an
 * attention a run of key/value heads. A row is a sum of its own and heads share nothing, so the bits are those of one thread. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "host_port.h"
#include "mmoe_kernels.h"

void mmoe_port_matvec(const mmoe_matrix *w, const mmoe_vector *x, float *y);
void mmoe_port_matmul(const mmoe_matrix *w, const mmoe_vector *const *x, float *const *y, uint32_t count, void *scratch);
mmoe_status mmoe_port_attention(const mmoe_attention *a, float *qkv, void *kv, uint32_t position, float *out, void *scratch);

enum {
    MOST_THREADS = 16,
    LEAST_WEIGHTS = 1 << 15, /* of a product that is worth a split */
    LEAST_SCORED = 1 << 14,  /* elements of heads times positions, of an attention that is */
    OWN_POSITIONS = 64,      /* what an attention does for its token alone costs as much as so many positions */
    SPINS = 4000,            /* before a thread gives its core back: longer than what lies between two products of a token */
};

static struct {
    void (*run)(uint32_t part);
    void *scratch; /* of the first thread */
    union {
        struct {
            const mmoe_matrix *matrix;
            const mmoe_vector *const *in;
            float *const *out;
            uint32_t count;
        } product;
        struct {
            const mmoe_attention *shape;
            float *qkv, *out;
            void *kv;
            uint32_t position;
        } attention;
    };
    _Atomic int failed; /* the status of a thread whose part failed */
} job;

static uint32_t threads = 1;
static _Atomic uint32_t turn, working;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wakes = PTHREAD_COND_INITIALIZER;
static uint32_t asleep;
static void *own_scratch[MOST_THREADS]; /* of every thread but the first, which has the caller's */
static size_t own_bytes;

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

/* The share of thread `part` in `count` things that follow each other */
static size_t share(uint64_t count, uint32_t part) { return (size_t)(count * part / threads); }

static void run_product(uint32_t part) {
    const mmoe_matrix *w = job.product.matrix;
    const uint32_t tiles = (w->rows + MMOE_ROWS - 1) / MMOE_ROWS;
    const size_t first = share(tiles, part), end = share(tiles, part + 1);
    const uint32_t from = MMOE_ROWS * (uint32_t)first;
    if (first == end) return;
    const mmoe_matrix rows = mmoe_matrix_rows(w, from, (end == tiles ? w->rows : MMOE_ROWS * (uint32_t)end) - from);
    float *out[MMOE_BATCH];
    for (uint32_t i = 0; i < job.product.count; i++) out[i] = job.product.out[i] + from;
    if (job.product.count == 1)
        mmoe_matvec(&rows, job.product.in[0], out[0]);
    else
        mmoe_matmul(&rows, job.product.in, out, job.product.count, part ? own_scratch[part] : job.scratch);
}

static void run_attention(uint32_t part) {
    const mmoe_attention *a = job.attention.shape;
    const uint32_t first = (uint32_t)share(a->kv_heads, part), end = (uint32_t)share(a->kv_heads, part + 1);
    const mmoe_status status =
        mmoe_attention_heads_s8(a, job.attention.qkv, job.attention.kv, job.attention.position, job.attention.out,
                                part ? own_scratch[part] : job.scratch, first, end);
    if (status != MMOE_OK) atomic_store(&job.failed, status);
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
        job.run(part);
        atomic_fetch_sub(&working, 1);
    }
    return NULL;
}

/* Every thread has scratch of so many bytes from here on; only while none of them works. */
static int provide_scratch(size_t bytes) {
    if (bytes <= own_bytes) return 0;
    for (uint32_t part = 1; part < threads; part++) {
        void *larger = aligned_alloc(64, MMOE_PAD(bytes, 64));
        if (!larger) return -1;
        free(own_scratch[part]);
        own_scratch[part] = larger;
    }
    own_bytes = bytes;
    return 0;
}

int host_threads_open(uint32_t count) {
    pthread_t thread;
    if (count < 1 || count > MOST_THREADS) {
        fprintf(stderr, "--threads takes 1..%d\n", MOST_THREADS);
        return -1;
    }
    threads = count;
    int failed = provide_scratch(MMOE_MATMUL_SCRATCH_BYTES(MMOE_MAX_COLUMNS, MMOE_BATCH));
    for (uint32_t part = 1; part < count && !failed; part++)
        failed = pthread_create(&thread, NULL, serve, (void *)(uintptr_t)part);
    if (failed) fputs("cannot start a thread\n", stderr);
    return failed ? -1 : 0;
}

/* Runs the job's parts, each in its thread. */
static void run_job(void (*run)(uint32_t part), void *scratch) {
    job.run = run, job.scratch = scratch;
    atomic_store(&working, threads - 1);
    pthread_mutex_lock(&lock);
    atomic_fetch_add(&turn, 1);
    if (asleep) pthread_cond_broadcast(&wakes);
    pthread_mutex_unlock(&lock);
    run(0);
    for (uint32_t spin = 0; atomic_load(&working); spin++) relax(spin);
}

void mmoe_port_matmul(const mmoe_matrix *w, const mmoe_vector *const *x, float *const *y, uint32_t count, void *scratch) {
    if (threads == 1 || (uint64_t)w->rows * w->columns < LEAST_WEIGHTS) {
        mmoe_matmul(w, x, y, count, scratch);
        return;
    }
    job.product.matrix = w, job.product.in = x, job.product.out = y, job.product.count = count;
    run_job(run_product, scratch);
}

void mmoe_port_matvec(const mmoe_matrix *w, const mmoe_vector *x, float *y) { mmoe_port_matmul(w, &x, &y, 1, NULL); }

static int is_worth_a_split(const mmoe_attention *a, uint32_t position) {
    return threads > 1 && a->kv_heads > 1 && (uint64_t)a->heads * a->head_dim * (position + OWN_POSITIONS) >= LEAST_SCORED;
}

mmoe_status mmoe_port_attention(const mmoe_attention *a, float *qkv, void *kv, uint32_t position, float *out, void *scratch) {
    const size_t bytes = MMOE_ATTENTION_SCRATCH_BYTES(a->heads, a->kv_heads, a->context, a->head_dim);
    if (!is_worth_a_split(a, position) || provide_scratch(bytes))
        return mmoe_attention_s8(a, qkv, kv, position, out, scratch);
    job.attention.shape = a, job.attention.qkv = qkv, job.attention.kv = kv, job.attention.position = position;
    job.attention.out = out;
    atomic_store(&job.failed, MMOE_OK);
    run_job(run_attention, scratch);
    return (mmoe_status)atomic_load(&job.failed);
}
