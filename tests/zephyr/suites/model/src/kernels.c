/* SPDX-License-Identifier: Apache-2.0
 *
 * The kernels that the SoC chose, against vectors of SPEC.md in numpy, bit for bit. */
#include <string.h>
#include <zephyr/ztest.h>

#include "mmoe_kernels.h"
#include "vectors.h"

static float in[COLUMNS] __aligned(16), out[COLUMNS] __aligned(16);
static uint8_t vector[MMOE_VECTOR_BYTES(COLUMNS)] __aligned(16);

static void load(float *to, const uint32_t *bits, size_t count) { memcpy(to, bits, 4 * count); }

#define EXPECT_BITS(got, bits) zassert_mem_equal(got, bits, sizeof(bits))

static const mmoe_vector *quantized_x(void) {
    load(in, x, COLUMNS);
    zassert_equal(mmoe_quantize_s8(in, COLUMNS, (mmoe_vector *)vector), MMOE_OK);
    return (const mmoe_vector *)vector;
}

static const mmoe_matrix s8 = {
    .rows = ROWS, .columns = COLUMNS, .bits = 8, .weights = s8_weights, .row_scales = (const float *)row_scales};
static const mmoe_matrix s4 = {.rows = ROWS, .columns = COLUMNS, .bits = 4, .weights = s4_weights,
                               .group_scales = s4_groups, .row_scales = (const float *)row_scales};

ZTEST(kernels, test_exp) {
    load(in, exp_in, ARRAY_SIZE(exp_in));
    for (size_t i = 0; i < ARRAY_SIZE(exp_in); i++) out[i] = mmoe_exp_f32(in[i]);
    EXPECT_BITS(out, exp_out);
}

ZTEST(kernels, test_matvec_s8) {
    mmoe_matvec(&s8, quantized_x(), out);
    EXPECT_BITS(out, s8_out);
}

ZTEST(kernels, test_matvec_s4g32) {
    mmoe_matvec(&s4, quantized_x(), out);
    EXPECT_BITS(out, s4_out);
}

ZTEST(kernels, test_embed_s8) {
    mmoe_embed_s8(&s8, 3, out);
    EXPECT_BITS(out, embed_out);
}

ZTEST(kernels, test_rmsnorm) {
    static float weight[COLUMNS] __aligned(16);
    load(in, x, COLUMNS);
    load(weight, norm, COLUMNS);
    mmoe_rmsnorm_f32(in, weight, COLUMNS, 1e-5f, out);
    EXPECT_BITS(out, rmsnorm_out);
}

ZTEST(kernels, test_swiglu) {
    static float gate_up[2 * COLUMNS] __aligned(16); /* the numbers, and the numbers backwards */
    load(gate_up, x, COLUMNS);
    for (size_t i = 0; i < COLUMNS; i++) gate_up[COLUMNS + i] = gate_up[COLUMNS - 1 - i];
    zassert_equal(mmoe_swiglu_s8(gate_up, COLUMNS, 1.0f, (mmoe_vector *)vector), MMOE_OK);
    mmoe_matvec(&s8, (const mmoe_vector *)vector, out);
    EXPECT_BITS(out, swiglu_out);
}

ZTEST(kernels, test_route) {
    static float weight[EXPERTS * WIDTH] __aligned(16), bias[EXPERTS], gate[TOP_K], scratch[2 * EXPERTS] __aligned(16);
    uint8_t expert[TOP_K];
    load(in, x, WIDTH);
    load(weight, router, EXPERTS * WIDTH);
    load(bias, router_bias, EXPERTS);
    const mmoe_router table = {.experts = EXPERTS, .top_k = TOP_K, .scaling = 1.5f, .weight = weight, .bias = bias};
    mmoe_route_f32(&table, in, WIDTH, expert, gate, scratch);
    zassert_mem_equal(expert, chosen, TOP_K);
    EXPECT_BITS(gate, gates);
}

ZTEST(kernels, test_crc32) { zassert_equal(mmoe_crc32(0, "123456789", 9), 0xcbf43926); }

ZTEST(kernels, test_quantize_refuses_infinity) {
    load(in, x, COLUMNS);
    const uint32_t infinity = 0x7f800000;
    memcpy(&in[5], &infinity, 4);
    zassert_equal(mmoe_quantize_s8(in, COLUMNS, (mmoe_vector *)vector), MMOE_E_NUMERIC);
}

ZTEST_SUITE(kernels, NULL, NULL, NULL, NULL, NULL);
