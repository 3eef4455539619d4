/* SPDX-License-Identifier: Apache-2.0
 *
 * Measures every kernel on the core it runs on; prints one line a kernel and shape:
 * kernel rows columns batch macs count calls stack
 * batch: vectors at once; of attention heads, of routing the experts that are chosen, of sampling top_k, of normalizing channels.
 * count: instructions (hosts: nanoseconds) of `calls` calls, the price of an empty call taken off. */
#include <string.h>

#include "host.h"
#include "mmoe_kernels.h"

#ifndef CALLS
#define CALLS 8
#endif

enum { ROWS = 512, COLUMNS = 256, BATCH = 16, HEADS = 8, KV_HEADS = 2, HEAD_DIM = 64, CONTEXT = 128, EXPERTS = 32, TOP_K = 4 };

static _Alignas(16) int8_t weights[ROWS * COLUMNS];
static _Alignas(16) uint8_t group_scales[ROWS * COLUMNS / 32];
static _Alignas(16) float row_scales[ROWS], x[2 * ROWS], y[BATCH * ROWS], bias[EXPERTS];
static _Alignas(16) uint8_t vectors[BATCH * MMOE_VECTOR_BYTES(COLUMNS)];
static _Alignas(16) uint8_t cache[MMOE_KV_BYTES(KV_HEADS, CONTEXT, HEAD_DIM)];
static _Alignas(16) uint8_t scratch[MMOE_ATTENTION_SCRATCH_BYTES(HEADS, KV_HEADS, CONTEXT, HEAD_DIM)];
static float table[CONTEXT * HEAD_DIM / 2]; /* of cosines, and of sines */
static uint8_t chosen[TOP_K];
static float gates[TOP_K];

static uint32_t rows, columns, batch;
static mmoe_matrix matrix;
static mmoe_vector *const vector = (mmoe_vector *)(void *)vectors;

static mmoe_attention attention = {HEADS, KV_HEADS, HEAD_DIM, CONTEXT, 1, 1e-6f, table, table};

static void run_nothing(void) { __asm__ volatile(""); }
static void run_matvec(void) { mmoe_matvec(&matrix, vector, y); }
static uint8_t interleaved[MMOE_MATMUL_SCRATCH_BYTES(512, BATCH)] __attribute__((aligned(16)));
static void run_matmul(void) {
    static const mmoe_vector *in[BATCH];
    static float *out[BATCH];
    for (uint32_t i = 0; i < batch; i++) in[i] = vector, out[i] = y + i * rows;
    mmoe_matmul(&matrix, in, out, batch, interleaved);
}
static void run_quantize(void) { (void)mmoe_quantize_s8(x, columns, vector); }
static void run_embed(void) { mmoe_embed_s8(&matrix, 5, y); }
static void run_rmsnorm(void) { mmoe_rmsnorm_f32(x, row_scales, columns, 1e-6f, y); }
static void run_add(void) { mmoe_add_f32(x, columns, y); }
static void run_accumulate(void) { mmoe_accumulate_f32(x, 0.25f, columns, y); }
static void run_rmsnorm_s8(void) { (void)mmoe_rmsnorm_s8(x, row_scales, columns, 1e-6f, y, vector); }
static void run_combine(void) { mmoe_combine_f32(x, y + COLUMNS, COLUMNS, row_scales, batch, columns, y); }
static void run_swiglu(void) { /* of the same numbers each time: it uses them up */
    memcpy(y, x, 2 * sizeof(float) * columns);
    (void)mmoe_swiglu_s8(y, columns, 1.0f, vector);
}
static void run_rotary(void) { mmoe_rotary_f32(y, attention.cosine, attention.sine, columns); }
static void run_argmax(void) { y[0] = (float)mmoe_argmax_f32(x, columns); }
static void run_sample(void) {
    const mmoe_sampling sampling = {0.8f, batch, 1};
    y[0] = (float)mmoe_sample_f32(x, columns, &sampling, 1);
}
static void run_gate(void) { y[0] = mmoe_gate_f32(x, row_scales, columns); }
static void run_normalize(void) { mmoe_normalize_f32(x, row_scales, row_scales, batch, columns, y); }
static void run_route(void) {
    const mmoe_router router = {
        .experts = (uint16_t)rows,
        .top_k = (uint16_t)batch,
        .scaling = 1.0f,
        .weight = (const float *)(const void *)weights,
        .bias = bias,
    };
    mmoe_route_f32(&router, x, columns, chosen, gates, y);
}
static void run_attention(void) {
    memcpy(y, x, sizeof(float) * (attention.heads + 2u * KV_HEADS) * attention.head_dim);
    (void)mmoe_attention_s8(&attention, y, cache, rows - 1, y + 512, scratch);
}
static void run_copy(void) { memcpy(weights, weights + sizeof weights / 2, columns); }
static void run_crc(void) { y[0] = (float)(mmoe_crc32(0, weights, columns) & 1); }

static uint64_t count_calls(void (*run)(void), uint32_t calls) {
    const uint64_t start = host_count();
    for (uint32_t i = 0; i < calls; i++) run();
    return host_count() - start;
}

static void measure(const char *name, void (*run)(void), uint32_t macs) {
    run(); /* fills the attention's cache, warms a host's */
    host_stack_mark();
    run();
    uint32_t stack = host_stack_used(), calls = CALLS;
    uint64_t count = count_calls(run, calls);
    while ((int64_t)count < HOST_LEAST_COUNT) calls *= 2, count = count_calls(run, calls);
    for (uint32_t trial = 1; trial < HOST_TRIALS; trial++) {
        const uint64_t again = count_calls(run, calls);
        if (again < count) count = again;
    }
    const uint64_t empty = count_calls(run_nothing, calls);
    const uint32_t numbers[] = {rows, columns, batch, macs, (uint32_t)(count > empty ? count - empty : 0), calls, stack};
    host_print(name);
    for (uint32_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        host_print(" ");
        host_print_number(numbers[i]);
    }
    host_print("\n");
}

static void measure_matvec(uint16_t bits, uint32_t row_count, uint16_t column_count) {
    rows = row_count, columns = column_count;
    matrix = (mmoe_matrix){row_count, column_count, bits, weights, bits == 4 ? group_scales : NULL, row_scales};
    (void)mmoe_quantize_s8(x, columns, vector);
    measure(bits == 8 ? "mmoe_matvec_s8" : "mmoe_matvec_s4g32", run_matvec, rows * columns);
    for (batch = 2; batch <= BATCH; batch = batch < 4 ? 4 : 4 * batch)
        measure(bits == 8 ? "mmoe_matmul_s8" : "mmoe_matmul_s4g32", run_matmul, batch * rows * columns);
    batch = 1;
}

int main(void) {
    uint32_t state = 1;
    for (uint32_t i = 0; i < sizeof weights; i++) {
        state = state * 1664525u + 1013904223u;
        weights[i] = (int8_t)((int32_t)(state >> 24) - 128);
    }
    for (uint32_t i = 0; i < sizeof group_scales; i++) group_scales[i] = (uint8_t)(i * 37 + 1);
    for (uint32_t i = 0; i < ROWS; i++) row_scales[i] = 0.001f * (float)(i % 13 + 1);
    for (uint32_t i = 0; i < 2 * ROWS; i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = (float)((int32_t)(state >> 16) - 32768) * 0x1p-14f;
    }
    for (uint32_t i = 0; i < sizeof table / sizeof *table; i++) table[i] = x[i % ROWS] * 0.5f;
    batch = 1;

    static const uint16_t shapes[][2] = {{512, 256}, {256, 128}, {128, 512}, {130, 100}, {64, 64},
                                         {64, 32},   {256, 64},  {256, 32},  {64, 96}};
    for (uint32_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        measure_matvec(8, shapes[i][0], shapes[i][1]);
        measure_matvec(4, shapes[i][0], shapes[i][1]);
    }
    matrix = (mmoe_matrix){ROWS, COLUMNS, 8, weights, NULL, row_scales};
    rows = 1;
    static const uint16_t lengths[] = {256, 64, 32};
    for (uint32_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        columns = matrix.columns = lengths[i];
        measure("mmoe_quantize_s8", run_quantize, columns);
        measure("mmoe_embed_s8", run_embed, columns);
        measure("mmoe_rmsnorm_f32", run_rmsnorm, columns);
        measure("mmoe_rmsnorm_s8", run_rmsnorm_s8, columns);
        measure("mmoe_add_f32", run_add, columns);
        measure("mmoe_accumulate_f32", run_accumulate, columns);
        measure("mmoe_swiglu_s8", run_swiglu, columns);
        measure("mmoe_argmax_f32", run_argmax, columns);
        measure("mmoe_gate_f32", run_gate, columns);
        batch = 6;
        measure("mmoe_normalize_f32", run_normalize, columns);
        batch = 40;
        measure("mmoe_sample_f32", run_sample, columns);
        batch = 0;
        measure("mmoe_sample_f32", run_sample, columns);
        for (batch = 2; batch <= TOP_K; batch += 2) measure("mmoe_combine_f32", run_combine, batch * columns);
        batch = 1;
    }
    static const uint16_t pages[] = {256, 4096}; /* the longer one of the size of an expert's page */
    for (uint32_t i = 0; i < sizeof pages / sizeof *pages; i++) {
        columns = pages[i];
        measure("mmoe_crc32", run_crc, columns);
        measure("memcpy", run_copy, columns);
    }
    columns = 32;
    measure("mmoe_rotary_f32", run_rotary, columns);
    for (uint32_t i = 0; i < EXPERTS * COLUMNS; i++) {
        float value = x[i % ROWS] * 0.125f;
        memcpy(weights + 4 * i, &value, sizeof value);
    }
    static const uint16_t routes[][3] = {{16, 256, 2}, {16, 64, 4}, {32, 64, 4}, {8, 64, 2}, {16, 64, 2}};
    for (uint32_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        rows = routes[i][0], columns = routes[i][1], batch = routes[i][2];
        measure("mmoe_route_f32", run_route, rows * columns);
    }
    static const uint16_t heads[][3] = {/* heads, head_dim, positions */
        {4, 32, 64}, {4, 32, 16},  {4, 32, 128}, {4, 16, 16}, {4, 16, 128},
        {2, 64, 64}, {2, 64, 128}, {8, 32, 16},  {8, 32, 64}, {8, 16, 128}};
    for (uint32_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        attention.heads = heads[i][0], attention.head_dim = heads[i][1];
        for (rows = 1; rows < heads[i][2]; rows++) run_attention();
        batch = attention.heads, columns = batch * attention.head_dim;
        measure("mmoe_attention_s8", run_attention, 2 * rows * columns);
    }
    return 0;
}
