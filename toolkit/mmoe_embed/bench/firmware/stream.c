/* SPDX-License-Identifier: Apache-2.0
 *
 * How fast this machine reads memory: `stream THREADS BYTES` reads so many bytes, each thread its own part, some times over,
 * and prints the nanoseconds of the fastest time. */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST_THREADS = 64, TIMES = 8, WORDS = 8 /* read at once */ };

static struct part {
    const uint64_t *words;
    size_t count;
    uint64_t sum;
} parts[MOST_THREADS];

static void *read_part(void *argument) {
    struct part *part = argument;
    uint64_t sums[WORDS] = {0};
    for (size_t i = 0; i + WORDS <= part->count; i += WORDS)
        for (size_t j = 0; j < WORDS; j++) sums[j] += part->words[i + j];
    for (size_t j = 0; j < WORDS; j++) part->sum += sums[j];
    return NULL;
}

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int main(int argc, char **argv) {
    const size_t threads = argc == 3 ? strtoul(argv[1], NULL, 10) : 0, words = argc == 3 ? strtoull(argv[2], NULL, 10) / 8 : 0;
    uint64_t *memory = threads && threads <= MOST_THREADS && words ? malloc(8 * words) : NULL, fastest = UINT64_MAX, sum = 0;
    pthread_t thread[MOST_THREADS];
    if (!memory) {
        fprintf(stderr, "usage: stream THREADS BYTES\n");
        return 2;
    }
    memset(memory, 1, 8 * words);
    for (int i = 0; i < TIMES; i++) {
        const uint64_t start = now();
        for (size_t t = 0; t < threads; t++) {
            parts[t] = (struct part){memory + words / threads * t, words / threads, 0};
            if (pthread_create(&thread[t], NULL, read_part, &parts[t])) return 1;
        }
        for (size_t t = 0; t < threads; t++) pthread_join(thread[t], NULL);
        const uint64_t taken = now() - start;
        if (taken < fastest) fastest = taken;
        for (size_t t = 0; t < threads; t++) sum += parts[t].sum;
    }
    printf("%llu %llu\n", (unsigned long long)fastest, (unsigned long long)(sum & 1)); /* the sum, so that it is computed */
    return 0;
}
