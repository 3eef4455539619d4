/* Random problems, some broken or short of memory, through every entry of the core; packings are checked. */
#include <stdio.h>
#include <stdlib.h>

#include "planner.h"

enum { MOST = 40, MANY = 3000 };

static uint64_t state = 1;

static int64_t draw(int64_t below) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (int64_t)((state >> 33) % (uint64_t)below);
}

static void check(int n, const int64_t *lower, const int64_t *upper, const int64_t *size, const int64_t *alignment,
                  const int64_t *offset, int64_t capacity) {
    for (int i = 0; i < n; ++i) {
        if (offset[i] < 0 || offset[i] % alignment[i] != 0 || offset[i] + size[i] > capacity) abort();
        for (int k = 0; k < i; ++k)
            if (lower[i] < upper[k] && lower[k] < upper[i] && offset[i] < offset[k] + size[k] &&
                offset[k] < offset[i] + size[i])
                abort();
    }
}

/* First fits over enough buffers that blocks fill, split and are forgotten; all orders, stopped ones, broken ones. */
static void fit_many(int round) {
    static int64_t lower[MANY], upper[MANY], size[MANY], alignment[MANY], pin[MANY], offset[MANY];
    static int32_t order[MANY];
    for (int i = 0; i < MANY; ++i) {
        lower[i] = round % 2 ? i : draw(MANY);
        upper[i] = lower[i] + 1 + draw(round % 3 ? 20 : MANY);
        size[i] = 1 + draw(1000);
        alignment[i] = (int64_t)1 << draw(4);
        pin[i] = -1;
        order[i] = round % 5 ? i : MANY - 1 - i;
    }
    int32_t stop = 0;
    int64_t peak = mp_first_fit(MANY, lower, upper, size, alignment, pin, order, round % 2, &stop, offset);
    check(MANY, lower, upper, size, alignment, offset, peak);
    stop = 1;
    if (mp_first_fit(MANY, lower, upper, size, alignment, pin, order, 0, &stop, offset) != MP_STOPPED) abort();
    upper[MANY / 2] = (int64_t)1 << 40;
    if (mp_first_fit(MANY, lower, upper, size, alignment, pin, order, 0, NULL, offset) != MP_BAD_INPUT) abort();
}

int main(int argc, char **argv) {
    int rounds = argc > 1 ? atoi(argv[1]) : 100, found = 0, none = 0;
    for (int round = 0; round < rounds; ++round) {
        if (round % 300 == 0) fit_many(round / 300);
        int n = (int)draw(MOST) + (round % 50 != 0), span = 1 + (int)draw(20);
        int64_t lower[MOST + 1], upper[MOST + 1], size[MOST + 1], alignment[MOST + 1], pin[MOST + 1], offset[MOST + 1];
        int64_t largest = draw(3) ? 30 : (int64_t)1 << 50;
        int32_t order[MOST + 1];
        double life[MOST + 1];
        for (int i = 0; i < n; ++i) {
            lower[i] = draw(span) - 5;
            upper[i] = lower[i] + 1 + draw(span);
            size[i] = 1 + draw(largest);
            alignment[i] = draw(4) ? 1 : (int64_t)1 << draw(5);
            pin[i] = draw(60) ? -1 : draw(9) * alignment[i];
            order[i] = n - 1 - i;
            life[i] = (double)(upper[i] - lower[i]);
        }
        if (n > 0 && draw(40) == 0) upper[0] = lower[0]; /* broken: must be refused */
        int64_t limit = draw(20) ? (int64_t)1 << 30 : draw(20000);
        mp_instance *in = mp_instance_create(n, lower, upper, size, alignment, pin, life, limit, (uint32_t)draw(1024));
        if (in == NULL) continue;
        int64_t peak = mp_first_fit(n, lower, upper, size, alignment, pin, order, (int)draw(2), NULL, offset);
        int pinned = 0;
        for (int i = 0; i < n; ++i) pinned |= pin[i] >= 0;
        if (!pinned) check(n, lower, upper, size, alignment, offset, peak);
        for (int run = 0; run < 4; ++run) {
            int64_t capacity = mp_instance_load(in) + (run ? draw(1 + peak / 8) : 0);
            uint32_t keys = (uint32_t)draw(10) + ((uint32_t)draw(10) << 4), techniques = (uint32_t)draw(1024);
            mp_search *s = mp_search_create(in, capacity, (int)draw(MP_STRATEGY_COUNT), keys, (uint32_t)run, techniques);
            if (s == NULL) continue;
            int verdict = MP_RUNNING;
            for (int slice = 0; slice < 5 && verdict == MP_RUNNING; ++slice) verdict = mp_search_run(s, 1 + draw(400), NULL);
            if (verdict == MP_FOUND) {
                mp_search_offsets(s, offset);
                check(n, lower, upper, size, alignment, offset, capacity);
                ++found;
            }
            none += verdict == MP_NONE;
            mp_search_destroy(s);
        }
        mp_instance_destroy(in);
    }
    printf("%d problems, %d packings, %d refusals\n", rounds, found, none);
    return 0;
}
