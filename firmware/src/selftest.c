/* SPDX-License-Identifier: Apache-2.0
 *
 * Every kernel on stored numbers, against the CRC-32 of what it must give. The vectors are made and checked by
 * tests/firmware/selftest_vectors.py from SPEC.md alone. */
#include <string.h>

#include "mmoe_internal.h"
#include "selftest_vectors.h"

enum { WIDTH = 64, ROWS_S8 = 8, ROWS_S4 = 16, HEADS = 2, HEAD_DIM = 8, CONTEXT = 4, EXPERTS = 4, TOP_K = 2 };

typedef uint32_t (*test_function)(uint8_t *scratch);

static uint32_t checksum(const void *data, uint32_t bytes) { return mmoe_crc32(0, data, bytes); }

static uint32_t test_crc(uint8_t *scratch) {
    (void)scratch;
    return mmoe_crc32(0, "123456789", 9);
}

static uint32_t multiply(const mmoe_matrix *w, uint8_t *scratch) {
    float *y = (float *)(void *)scratch;
    mmoe_vector *x = (mmoe_vector *)(void *)(scratch + 4 * ROWS_S4);
    if (mmoe_quantize_s8(test_floats, WIDTH, x) != MMOE_OK) return 0;
    mmoe_matvec(w, x, y);
    return checksum(y, 4 * w->rows);
}

static const mmoe_matrix matrix_s8 = {
    .rows = ROWS_S8, .columns = WIDTH, .bits = 8, .weights = test_weights, .row_scales = test_row_scales};
static const mmoe_matrix matrix_s4 = {.rows = ROWS_S4, .columns = WIDTH, .bits = 4, .weights = test_weights,
                                      .group_scales = test_group_scales, .row_scales = test_row_scales};

static uint32_t test_matvec_s8(uint8_t *scratch) { return multiply(&matrix_s8, scratch); }
static uint32_t test_matvec_s4g32(uint8_t *scratch) { return multiply(&matrix_s4, scratch); }

/* Two vectors at once: the numbers, and the numbers backwards. */
static uint32_t multiply_two(const mmoe_matrix *w, uint8_t *scratch) {
    enum { VECTOR = MMOE_VECTOR_BYTES(WIDTH) };
    float *y = (float *)(void *)scratch, *backwards = y + 2 * ROWS_S4;
    uint8_t *vectors = (uint8_t *)(backwards + WIDTH), *work = vectors + 2 * VECTOR;
    _Static_assert(4 * (2 * ROWS_S4 + WIDTH) + 2 * VECTOR + MMOE_MATMUL_SCRATCH_BYTES(WIDTH, 2) <= MMOE_SELFTEST_BYTES, "scratch");
    mmoe_vector *x[2] = {(mmoe_vector *)(void *)vectors, (mmoe_vector *)(void *)(vectors + VECTOR)};
    for (uint32_t i = 0; i < WIDTH; i++) backwards[i] = test_floats[WIDTH - 1 - i];
    if (mmoe_quantize_s8(test_floats, WIDTH, x[0]) != MMOE_OK || mmoe_quantize_s8(backwards, WIDTH, x[1]) != MMOE_OK) return 0;
    mmoe_matmul(w, (const mmoe_vector *const[]){x[0], x[1]}, (float *const[]){y, y + w->rows}, 2, work);
    return checksum(y, 2 * 4 * w->rows);
}

static uint32_t test_matmul_s8(uint8_t *scratch) { return multiply_two(&matrix_s8, scratch); }
static uint32_t test_matmul_s4g32(uint8_t *scratch) { return multiply_two(&matrix_s4, scratch); }

static uint32_t test_embed(uint8_t *scratch) {
    float *x = (float *)(void *)scratch;
    mmoe_embed_s8(&matrix_s8, 5, x);
    return checksum(x, 4 * WIDTH);
}

static uint32_t test_rmsnorm(uint8_t *scratch) {
    float *y = (float *)(void *)scratch;
    mmoe_rmsnorm_f32(test_floats, test_floats, WIDTH, 1e-5f, y);
    return checksum(y, 4 * WIDTH);
}

static uint32_t test_add(uint8_t *scratch) {
    float *y = (float *)(void *)scratch;
    memcpy(y, test_floats, 4 * WIDTH / 2);
    mmoe_add_f32(test_floats + WIDTH / 2, WIDTH / 2, y);
    return checksum(y, 4 * WIDTH / 2);
}

static uint32_t test_combine(uint8_t *scratch) {
    float *x = (float *)(void *)scratch;
    memcpy(x, test_floats, 4 * WIDTH / 4);
    mmoe_combine_f32(test_floats + WIDTH / 4, test_floats + WIDTH / 2, WIDTH / 4, test_row_scales, 2, WIDTH / 4, x);
    return checksum(x, 4 * WIDTH / 4);
}

static uint32_t test_accumulate(uint8_t *scratch) {
    float *y = (float *)(void *)scratch;
    memcpy(y, test_floats, 4 * WIDTH / 2);
    mmoe_accumulate_f32(test_floats + WIDTH / 2, test_row_scales[0], WIDTH / 2, y);
    return checksum(y, 4 * WIDTH / 2);
}

/* Backwards are the numbers that the gates are for; a product shows what became of them. */
static uint32_t test_swiglu(uint8_t *scratch) {
    float *gate_up = (float *)(void *)scratch, *y = gate_up + 2 * WIDTH;
    mmoe_vector *h = (mmoe_vector *)(void *)(y + ROWS_S8);
    memcpy(gate_up, test_floats, 4 * WIDTH);
    for (uint32_t i = 0; i < WIDTH; i++) gate_up[WIDTH + i] = test_floats[WIDTH - 1 - i];
    if (mmoe_swiglu_s8(gate_up, WIDTH, 1.0f, h) != MMOE_OK) return 0;
    mmoe_matvec(&matrix_s8, h, y);
    return checksum(y, 4 * ROWS_S8);
}

static uint32_t test_rotary(uint8_t *scratch) {
    float *x = (float *)(void *)scratch;
    memcpy(x, test_floats, 4 * WIDTH / 2);
    mmoe_rotary_f32(x, test_floats + WIDTH / 2, test_floats + 3 * WIDTH / 4, WIDTH / 2);
    return checksum(x, 4 * WIDTH / 2);
}

static uint32_t test_route(uint8_t *scratch) {
    float *out = (float *)(void *)scratch, *work = out + WIDTH;
    uint8_t expert[TOP_K];
    const mmoe_router router = {
        .experts = EXPERTS, .top_k = TOP_K, .scaling = 2.5f, .weight = test_floats, .bias = test_floats};
    mmoe_route_f32(&router, test_floats, WIDTH / EXPERTS, expert, out, work);
    for (uint32_t i = 0; i < TOP_K; i++) out[TOP_K + i] = (float)expert[i];
    return checksum(out, 4 * 2 * TOP_K);
}

/* Two positions of the cache, so that the second has something to choose from. */
static uint32_t test_attention(uint8_t *scratch) {
    static const mmoe_attention attention = {.heads = HEADS, .kv_heads = 1, .head_dim = HEAD_DIM, .context = CONTEXT,
                                             .qk_norm = 1, .eps = 1e-5f, .cosine = test_floats, .sine = test_floats + 16};
    enum { QKV = (HEADS + 2) * HEAD_DIM };
    float *qkv = (float *)(void *)scratch, *out = qkv + QKV;
    uint8_t *kv = (uint8_t *)(out + HEADS * HEAD_DIM), *work = kv + MMOE_KV_BYTES(1, CONTEXT, HEAD_DIM);
    _Static_assert(4 * (QKV + HEADS * HEAD_DIM) + MMOE_KV_BYTES(1, CONTEXT, HEAD_DIM) +
                           MMOE_ATTENTION_SCRATCH_BYTES(HEADS, 1, CONTEXT, HEAD_DIM) <= MMOE_SELFTEST_BYTES, "scratch");
    for (uint32_t position = 0; position < 2; position++) {
        memcpy(qkv, test_floats + position * QKV, 4 * QKV);
        if (mmoe_attention_s8(&attention, qkv, kv, position, out, work) != MMOE_OK) return 0;
    }
    return checksum(out, 4 * HEADS * HEAD_DIM);
}

static uint32_t test_argmax(uint8_t *scratch) {
    (void)scratch;
    return mmoe_argmax_f32(test_floats, WIDTH);
}

static uint32_t test_exp(uint8_t *scratch) {
    float *y = (float *)(void *)scratch;
    for (uint32_t i = 0; i < WIDTH; i++) y[i] = mmoe_exp_f32(test_floats[i]);
    return checksum(y, 4 * WIDTH);
}

static uint32_t test_sqrt(uint8_t *scratch) {
    float *y = (float *)(void *)scratch;
    for (uint32_t i = 0; i < ROWS_S4; i++) y[i] = mmoe_sqrt_f32(test_row_scales[i]);
    return checksum(y, 4 * ROWS_S4);
}

static const struct {
    const char *name;
    test_function run;
    uint32_t expected;
} tests[] = {
    {"mmoe_crc32", test_crc, EXPECTED_CRC32},
    {"mmoe_matvec_s8", test_matvec_s8, EXPECTED_MATVEC_S8},
    {"mmoe_matvec_s4g32", test_matvec_s4g32, EXPECTED_MATVEC_S4G32},
    {"mmoe_matmul_s8", test_matmul_s8, EXPECTED_MATMUL_S8},
    {"mmoe_matmul_s4g32", test_matmul_s4g32, EXPECTED_MATMUL_S4G32},
    {"mmoe_embed_s8", test_embed, EXPECTED_EMBED_S8},
    {"mmoe_rmsnorm_f32", test_rmsnorm, EXPECTED_RMSNORM_F32},
    {"mmoe_add_f32", test_add, EXPECTED_ADD_F32},
    {"mmoe_accumulate_f32", test_accumulate, EXPECTED_ACCUMULATE_F32},
    {"mmoe_combine_f32", test_combine, EXPECTED_COMBINE_F32},
    {"mmoe_swiglu_s8", test_swiglu, EXPECTED_SWIGLU_S8},
    {"mmoe_rotary_f32", test_rotary, EXPECTED_ROTARY_F32},
    {"mmoe_route_f32", test_route, EXPECTED_ROUTE_F32},
    {"mmoe_attention_s8", test_attention, EXPECTED_ATTENTION_S8},
    {"mmoe_argmax_f32", test_argmax, EXPECTED_ARGMAX_F32},
    {"mmoe_exp_f32", test_exp, EXPECTED_EXP_F32},
    {"mmoe_sqrt_f32", test_sqrt, EXPECTED_SQRT_F32},
};

uint32_t mmoe_selftest_count(void) { return sizeof tests / sizeof tests[0]; }

mmoe_selftest mmoe_selftest_run(uint32_t index, uint8_t *scratch) {
    const uint64_t start = mmoe_port_ticks();
    const uint32_t crc = tests[index].run(scratch);
    return (mmoe_selftest){tests[index].name, mmoe_port_ticks() - start, crc, tests[index].expected};
}
