/* SPDX-License-Identifier: Apache-2.0
 *
 * CMSIS-NN's matrix-vector products over the shapes of bench.c, counted as there; linked with a checkout of theirs. Their INT4
 * has one scale a tensor; ours has one a group. Their results are int8, ours float. */
#include "arm_nnsupportfunctions.h"
#include "host.h"

enum { ROWS = 512, COLUMNS = 512, WEIGHTS = 512 * 256, CALLS = 8 };

static _Alignas(16) int8_t weights[WEIGHTS], x[COLUMNS], y[ROWS];
static int32_t bias[ROWS], sums[ROWS];
static int32_t rows, columns;

static void run_nothing(void) { __asm__ volatile(""); }
static void run_s8(void) {
    arm_nn_vec_mat_mult_t_s8(x, weights, sums, bias, y, 128, 0, 1 << 30, -8, columns, rows, -128, 127, 1, 0);
}
static void run_s4(void) {
    arm_nn_vec_mat_mult_t_s4(x, weights, bias, y, 128, 0, 1 << 30, -8, columns, rows, -128, 127);
}

static uint64_t count_calls(void (*run)(void)) {
    const uint64_t start = host_count();
    for (uint32_t i = 0; i < CALLS; i++) run();
    return host_count() - start;
}

static void measure(const char *name, void (*run)(void)) {
    run();
    host_stack_mark();
    run();
    const uint32_t stack = host_stack_used();
    const uint64_t count = count_calls(run), empty = count_calls(run_nothing);
    const uint32_t numbers[] = {(uint32_t)rows, (uint32_t)columns, 1, (uint32_t)(rows * columns), (uint32_t)(count - empty), CALLS, stack};
    host_print(name);
    for (uint32_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        host_print(" ");
        host_print_number(numbers[i]);
    }
    host_print("\n");
}

int main(void) {
    uint32_t state = 1;
    for (uint32_t i = 0; i < WEIGHTS; i++) {
        state = state * 1664525u + 1013904223u;
        weights[i] = (int8_t)((int32_t)(state >> 24) - 128);
        x[i % COLUMNS] = (int8_t)((int32_t)(state >> 16 & 255) - 128);
    }
    static const int32_t shapes[][2] = {{512, 256}, {256, 128}, {128, 512}, {130, 100}};
    for (uint32_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        rows = shapes[i][0], columns = shapes[i][1];
        measure("arm_nn_vec_mat_mult_t_s8", run_s8);
        measure("arm_nn_vec_mat_mult_t_s4", run_s4);
    }
    return 0;
}
