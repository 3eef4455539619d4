/* SPDX-License-Identifier: Apache-2.0
 *
 * Every kernel against its reference, bit for bit, over random shapes and values. The reference is linked under the names
 * reference_<kernel>. Prints "<kernel> <cases>" as each one passes; ends with 1 at the first difference. */
#include <string.h>

#include "host.h"
#include "mmoe_kernels.h"
#include "mmoe_private.h"

#ifndef CASES
#define CASES 200
#endif
#ifndef SEED
#define SEED 1
#endif

#ifdef MMOE_HOST_CORE
enum { WEIGHT_BYTES = 8 * 8192, MAX_N = 2048 };
#else
enum { WEIGHT_BYTES = 4 * 8192, MAX_N = 1024 };
#endif

#define REFERENCE(result, name, parameters) result reference_##name parameters
REFERENCE(mmoe_status, mmoe_quantize_s8, (const float *, uint32_t, mmoe_vector *));
REFERENCE(void, mmoe_matvec, (const mmoe_matrix *, const mmoe_vector *, float *));
REFERENCE(void, mmoe_matmul, (const mmoe_matrix *, const mmoe_vector *const *, float *const *, uint32_t, void *));
REFERENCE(void, mmoe_embed_s8, (const mmoe_matrix *, uint32_t, float *));
REFERENCE(void, mmoe_rmsnorm_f32, (const float *, const float *, uint32_t, float, float *));
REFERENCE(void, mmoe_add_f32, (const float *, uint32_t, float *));
REFERENCE(void, mmoe_rotary_f32, (float *, const float *, const float *, uint32_t));
REFERENCE(mmoe_status, mmoe_rmsnorm_s8, (const float *, const float *, uint32_t, float, float *, mmoe_vector *));
REFERENCE(mmoe_status, mmoe_swiglu_s8, (float *, uint32_t, float, mmoe_vector *));
REFERENCE(void, mmoe_combine_f32, (const float *, const float *, uint32_t, const float *, uint32_t, uint32_t, float *));
REFERENCE(void, mmoe_accumulate_f32, (const float *, float, uint32_t, float *));
REFERENCE(void, mmoe_route_f32, (const mmoe_router *, const float *, uint32_t, uint8_t *, float *, float *));
REFERENCE(float, mmoe_gate_f32, (const float *, const float *, uint32_t));
REFERENCE(uint32_t, mmoe_argmax_f32, (const float *, uint32_t));
REFERENCE(uint32_t, mmoe_sample_f32, (const float *, uint32_t, const mmoe_sampling *, uint32_t));
REFERENCE(float, mmoe_exp_f32, (float));
REFERENCE(float, mmoe_sqrt_f32, (float));
REFERENCE(mmoe_status, mmoe_attention_s8, (const mmoe_attention *, float *, void *, uint32_t, float *, void *));
REFERENCE(uint32_t, mmoe_crc32, (uint32_t, const void *, uint32_t));

static _Alignas(16) uint8_t weights[WEIGHT_BYTES], group_scales[2048], cache_a[16384], cache_b[16384], scratch[16384];
static _Alignas(16) uint8_t vector_a[MMOE_VECTOR_BYTES(8192)], vector_b[MMOE_VECTOR_BYTES(8192)];

/* Floats lie at any multiple of 4 bytes (mmoe_kernels.h): each case moves them by 0 to 3 floats from a multiple of 16. */
enum { SHIFTS = 4, Y = SHIFTS + MAX_N * 2 + 32 };
static _Alignas(16) float row_scales_at[SHIFTS + MAX_N], x_at[SHIFTS + 8192], z_at[SHIFTS + 8192], y_a_at[Y], y_b_at[Y];
static float *row_scales, *x, *z, *y_a, *y_b;

static uint32_t state = SEED * 2654435761u + 1;
static uint32_t random_bits(void) {
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}
static uint32_t below(uint32_t n) { return random_bits() % n; }
static void move_floats(void) {
    row_scales = row_scales_at + below(SHIFTS);
    x = x_at + below(SHIFTS);
    z = z_at + below(SHIFTS);
    y_a = y_a_at + below(SHIFTS);
    y_b = y_b_at + below(SHIFTS);
}
static float unit(void) { return (float)((int32_t)random_bits() >> 8) * 0x1p-23f; }

/* Small, huge, subnormal, zero, all of one size, of any size */
static void fill(float *to, uint32_t n, uint32_t kind) {
    for (uint32_t i = 0; i < n; i++) {
        float v = unit();
        switch (kind) {
        case 0: case 1: case 2: break;
        case 3: v *= 0x1p-62f; break;
        case 4: v *= 0x1p-120f; break;
        case 5: v *= 0x1p57f; break;
        case 6: v = mmoe_float((random_bits() & 0x80FFFFFFu) | below(2) << 23 | below(186) << 23); break;
        case 7: v = below(3) ? 0.0f : -0.0f; break;
        case 8: v = below(2) ? 1.0f : -1.0f; break;
        case 9: v *= (i & 31) ? 0x1p-130f : 1.0f; break;
        default: v = v * 40.0f; break;
        }
        to[i] = v;
    }
}
enum { KINDS = 11 };

static const char *kernel;
static uint32_t case_number;
static void fail(uint32_t at) {
    host_print("DIFFERS ");
    host_print(kernel);
    host_print(" case ");
    host_print_number(case_number);
    host_print(" at ");
    host_print_number(at);
    host_print(" shape ");
}
static void check(int same, uint32_t at, uint32_t a, uint32_t b) {
    if (same) return;
    fail(at);
    host_print_number(a);
    host_print(" x ");
    host_print_number(b);
    host_print("\n");
    host_exit(1);
}
/* y_a and y_b agree in n words, and neither was written behind them. */
static void check_words(uint32_t n, uint32_t a, uint32_t b) {
    for (uint32_t i = 0; i < n; i++) check(mmoe_bits(y_a[i]) == mmoe_bits(y_b[i]), i, a, b);
    for (uint32_t i = n; i < n + 16; i++) check(mmoe_bits(y_a[i]) == 0xDEADBEEF && mmoe_bits(y_b[i]) == 0xDEADBEEF, i, a, b);
}
static void clear(uint32_t n) {
    for (uint32_t i = 0; i < n + 16; i++) y_a[i] = y_b[i] = mmoe_float(0xDEADBEEF);
}
static uint32_t some_size(uint32_t most) {
    uint32_t n = below(4) ? 1 + below(most < 130 ? most : 130) : 1 + below(most);
    return below(3) ? n : (n + 31) / 32 * 32 <= most ? (n + 31) / 32 * 32 : n;
}

static void random_matrix(mmoe_matrix *w, uint32_t bits, uint32_t rows, uint32_t columns) {
    *w = (mmoe_matrix){rows, (uint16_t)columns, (uint16_t)bits, weights, bits == 4 ? group_scales : NULL, row_scales};
    uint32_t groups = MMOE_GROUPS(columns), tiles = (rows + 3) / 4;
    uint32_t bytes = tiles * 4 * (bits == 8 ? MMOE_PAD(columns, 16) : 16 * groups);
    uint32_t kind = below(4);
    /* INT8 is -127..127; the kernels take -128 too */
    for (uint32_t i = 0; i < bytes; i++)
        weights[i] = kind == 0 ? 0x88 : kind == 1 ? (bits == 8 ? 0x7F : 0x77) : (uint8_t)(random_bits() >> 9);
    for (uint32_t i = 0; i < tiles * 4 * groups && bits == 4; i++)
        group_scales[i] = kind < 2 ? 255 : below(5) ? (uint8_t)random_bits() : 0;
    for (uint32_t i = 0; i < tiles * 4; i++) row_scales[i] = below(20) ? (unit() + 1.0f) * 0x1p-9f + 0x1p-64f : 0.0f;
    if (below(6) == 0)
        for (uint32_t i = 0; i < tiles * 4; i++) row_scales[i] = 0x1p-64f;
}

static mmoe_status quantize(float *from, uint32_t n, mmoe_vector *q) { return mmoe_quantize_s8(from, n, q); }
static mmoe_status reference_quantize(float *from, uint32_t n, mmoe_vector *q) { return reference_mmoe_quantize_s8(from, n, q); }

/* How each side calls what makes a vector of x (n) */
typedef mmoe_status (*maker)(float *x, uint32_t n, mmoe_vector *q);

/* The layout of a vector is private: a scale, nothing behind its end, and a product tell whether it is the same. */
static void compare_vectors(uint32_t bits, uint32_t rows, uint32_t columns, maker make, maker reference) {
    mmoe_vector *a = (mmoe_vector *)(void *)vector_a, *b = (mmoe_vector *)(void *)vector_b;
    const uint32_t bytes = MMOE_VECTOR_BYTES(columns);
    mmoe_matrix w;
    memset(vector_a, 0xA5, sizeof vector_a);
    memset(vector_b, 0x5A, sizeof vector_b);
    const mmoe_status status = make(x, columns, a);
    check(bytes == sizeof vector_a || vector_a[bytes] == 0xA5, 1, rows, columns);
    check(status == reference(z, columns, b), 2, rows, columns);
    if (status != MMOE_OK) return;
    check(mmoe_bits(a->scale) == mmoe_bits(b->scale), 3, rows, columns);
    random_matrix(&w, bits, rows, columns);
    clear(rows);
    mmoe_matvec(&w, a, y_a);
    reference_mmoe_matvec(&w, b, y_b);
    check_words(rows, rows, columns);
}

static void compare_matvec(uint32_t bits, uint32_t rows, uint32_t columns) {
    fill(x, columns, below(KINDS));
    memcpy(z, x, sizeof(float) * columns);
    compare_vectors(bits, rows, columns, quantize, reference_quantize);
}

/* Some vectors at once; some of them zero or so small that a fast kernel must take its slow road. */
enum { MANY = 16 };
static void compare_matmul(uint32_t bits, uint32_t rows, uint32_t columns) {
    static _Alignas(16) uint8_t vectors_a[MANY * MMOE_VECTOR_BYTES(1024)], vectors_b[MANY * MMOE_VECTOR_BYTES(1024)];
    static _Alignas(16) uint8_t interleaved[MMOE_MATMUL_SCRATCH_BYTES(1024, MANY) + 16];
    const uint32_t count = 1 + below(below(2) ? MMOE_AT_ONCE : MANY), bytes = MMOE_VECTOR_BYTES(columns), stride = rows + below(3);
    const mmoe_vector *in_a[MANY], *in_b[MANY];
    float *out_a[MANY], *out_b[MANY];
    mmoe_matrix w;
    random_matrix(&w, bits, rows, columns);
    memset(interleaved, 0xA5, sizeof interleaved);
    for (uint32_t i = 0; i < count; i++) {
        mmoe_vector *a = (mmoe_vector *)(void *)(vectors_a + i * bytes), *b = (mmoe_vector *)(void *)(vectors_b + i * bytes);
        fill(x, columns, below(KINDS));
        check(mmoe_quantize_s8(x, columns, a) == MMOE_OK, 0, rows, columns);
        check(reference_mmoe_quantize_s8(x, columns, b) == MMOE_OK, 1, rows, columns);
        in_a[i] = a, in_b[i] = b;
        out_a[i] = y_a + (count - 1 - i) * stride, out_b[i] = y_b + (count - 1 - i) * stride;
    }
    clear(count * stride);
    mmoe_matmul(&w, in_a, out_a, count, interleaved);
    reference_mmoe_matmul(&w, in_b, out_b, count, interleaved);
    check(interleaved[MMOE_MATMUL_SCRATCH_BYTES(columns, count)] == 0xA5, 2, rows, columns);
    check_words(count * stride, rows, columns);
}

static void matmul_s8(void) { compare_matmul(8, 1 + below(24), some_size(1024)); }
static void matmul_s4g32(void) { compare_matmul(4, 1 + below(24), some_size(1024)); }
static void matvec_s8(void) { compare_matvec(8, 1 + below(24), some_size(WEIGHT_BYTES / 32)); }
static void matvec_s4g32(void) { compare_matvec(4, 1 + below(24), some_size(WEIGHT_BYTES / 32)); }
static void matvec_widest(void) { compare_matvec(case_number & 1 ? 8 : 4, 1 + below(4), 8192 - below(2) * below(64)); }

static void quantize_s8(void) {
    static const uint32_t bad[] = {0x7F800000, 0xFF800000, 0x7FC00000, 0xFFFFFFFF, 0x7F800001, 0x5D800000, 0xDD800000};
    uint32_t n = 1 + below(200);
    fill(x, n, below(KINDS));
    x[below(n)] = mmoe_float(bad[below(7)]);
    check(mmoe_quantize_s8(x, n, (mmoe_vector *)(void *)vector_a) == MMOE_E_NUMERIC, 0, 1, n);
}
static void embed_s8(void) {
    mmoe_matrix w;
    uint32_t rows = 1 + below(16), columns = some_size(MAX_N), row = below(rows);
    random_matrix(&w, 8, rows, columns);
    clear(columns);
    mmoe_embed_s8(&w, row, y_a);
    reference_mmoe_embed_s8(&w, row, y_b);
    check_words(columns, rows, columns);
}
static void rmsnorm_f32(void) {
    uint32_t n = some_size(MAX_N);
    int in_place = below(2) != 0, weighted = below(3) != 0;
    float eps = below(2) ? 1e-6f : 0x1p-140f;
    fill(x, n, below(KINDS));
    fill(z, n, below(KINDS));
    clear(n);
    if (in_place) memcpy(y_a, x, 4 * n), memcpy(y_b, x, 4 * n);
    mmoe_rmsnorm_f32(in_place ? y_a : x, weighted ? z : NULL, n, eps, y_a);
    reference_mmoe_rmsnorm_f32(in_place ? y_b : x, weighted ? z : NULL, n, eps, y_b);
    check_words(n, 1, n);
}
static void add_f32(void) {
    uint32_t n = some_size(MAX_N), kind = below(KINDS);
    clear(n);
    fill(x, n, kind);
    fill(y_a, n, below(2) ? kind : below(KINDS));
    memcpy(y_b, y_a, 4 * n);
    mmoe_add_f32(x, n, y_a);
    reference_mmoe_add_f32(x, n, y_b);
    check_words(n, 1, n);
}
static void accumulate_f32(void) {
    uint32_t n = some_size(MAX_N), kind = below(KINDS);
    float gate = unit();
    clear(n);
    fill(x, n, kind);
    fill(y_a, n, below(2) ? kind : below(KINDS));
    memcpy(y_b, y_a, 4 * n);
    mmoe_accumulate_f32(x, gate, n, y_a);
    reference_mmoe_accumulate_f32(x, gate, n, y_b);
    check_words(n, 1, n);
}
static void rotary_f32(void) {
    uint32_t n = 2 * (1 + below(40));
    clear(n);
    fill(y_a, n, below(KINDS));
    memcpy(y_b, y_a, 4 * n);
    fill(x, n, 0);
    mmoe_rotary_f32(y_a, x, x + n / 2, n);
    reference_mmoe_rotary_f32(y_b, x, x + n / 2, n);
    check_words(n, 1, n);
}
/* The product of a matrix and a vector: 0 or no smaller than the product of their scales, which may be very small. */
static float product_scale;
static mmoe_status swiglu(float *from, uint32_t n, mmoe_vector *q) { return mmoe_swiglu_s8(from, n, product_scale, q); }
static mmoe_status reference_swiglu(float *from, uint32_t n, mmoe_vector *q) {
    return reference_mmoe_swiglu_s8(from, n, product_scale, q);
}
static void swiglu_s8(void) {
    static const float scales[] = {0.0f, 0x1p-8f, 0x1p-40f, 0x1p-41f, 0x1p-62f, 0x1p-80f, 0x1p50f, 0x1p20f};
    const uint32_t n = some_size(MAX_N / 2), both = below(4);
    product_scale = scales[below(8)];
    for (uint32_t i = 0; i < 2 * n; i++) {
        const float row_scale = (i < n ? both & 1 : both & 2) ? 0x1p-64f : 0x1p-9f;
        z[i] = x[i] = (float)((int32_t)random_bits() >> below(32)) * (product_scale * row_scale);
    }
    compare_vectors(8, 1 + below(8), n, swiglu, reference_swiglu);
}

static float norm_weights[MAX_N], normed[2][MAX_N + 16];
static mmoe_status rmsnorm(float *from, uint32_t n, mmoe_vector *q) {
    return mmoe_rmsnorm_s8(from, norm_weights, n, product_scale, normed[0], q);
}
static mmoe_status reference_rmsnorm(float *from, uint32_t n, mmoe_vector *q) {
    return reference_mmoe_rmsnorm_s8(from, norm_weights, n, product_scale, normed[1], q);
}
static void rmsnorm_s8(void) {
    const uint32_t n = some_size(MAX_N);
    product_scale = below(2) ? 1e-6f : 0x1p-140f;
    fill(x, n, below(KINDS));
    fill(norm_weights, n, below(3) ? 0 : below(KINDS));
    memcpy(z, x, sizeof(float) * n);
    memset(normed, 0xA5, sizeof normed);
    compare_vectors(8, 1 + below(8), n, rmsnorm, reference_rmsnorm);
    check(memcmp(normed[0], normed[1], sizeof normed[0]) == 0, 4, 1, n);
}

static void combine_f32(void) {
    const uint32_t n = some_size(256), count = below(5), stride = n + below(8), kind = below(KINDS);
    float gates[4];
    clear(n);
    for (uint32_t k = 0; k < 4; k++) gates[k] = unit();
    fill(x, n, below(2) ? kind : below(KINDS));
    fill(z, 4 * stride, below(2) ? kind : below(KINDS));
    fill(y_a, n, below(2) ? kind : below(KINDS));
    memcpy(y_b, y_a, sizeof(float) * n);
    mmoe_combine_f32(x, z, stride, gates, count, n, y_a);
    reference_mmoe_combine_f32(x, z, stride, gates, count, n, y_b);
    check_words(n, count, n);
}

static void route_f32(void) {
    uint32_t n = some_size(256), experts = 1 + below(below(4) ? 16 : 255), top_k = 1 + below(experts < 16 ? experts : 16);
    if (n * experts * 4 > WEIGHT_BYTES) n = WEIGHT_BYTES / 4 / experts;
    float *matrix = (float *)(void *)weights, scaling = unit() + 2.0f;
    uint8_t chosen_a[16], chosen_b[16];
    fill(x, n, below(KINDS - 1));
    fill(matrix, n * experts, below(4) ? 0 : below(KINDS - 1));
    fill(z, experts, below(2) ? below(KINDS - 1) : 7); /* equal scores too */
    clear(top_k);
    mmoe_router router = {(uint16_t)experts, (uint16_t)top_k, (uint8_t)below(2), (uint8_t)below(2), scaling, matrix, z};
    reference_mmoe_route_f32(&router, x, n, chosen_b, y_b, (float *)(void *)scratch);
    if (below(2)) router.bias = memcpy(scratch, z, 4 * experts);
    mmoe_route_f32(&router, x, n, chosen_a, y_a, (float *)(void *)scratch);
    check(memcmp(chosen_a, chosen_b, top_k) == 0, 0, experts, n);
    check_words(top_k, experts, n);
    check(mmoe_bits(mmoe_gate_f32(x, matrix, n)) == mmoe_bits(reference_mmoe_gate_f32(x, matrix, n)), 1, experts, n);
}
static void argmax_f32(void) {
    uint32_t n = some_size(MAX_N);
    fill(x, n, below(KINDS));
    if (below(2)) x[below(n)] = x[below(n)] = 3.0f;
    check(mmoe_argmax_f32(x, n) == reference_mmoe_argmax_f32(x, n), 0, 1, n);
}
static void sample_f32(void) {
    const uint32_t n = some_size(MAX_N), kind = below(KINDS), position = below(2) ? below(100) : random_bits();
    const float temperature = below(2) ? 0x1p-9f + unit() * unit() : 1.0f + unit() * unit() * 999.0f;
    const mmoe_sampling sampling = {temperature, below(2) ? 0 : below(2 * n), random_bits()};
    fill(x, n, kind == 10 ? 0 : kind); /* ties too */
    check(mmoe_sample_f32(x, n, &sampling, position) == reference_mmoe_sample_f32(x, n, &sampling, position), 0, 1, n);
}
static void exp_f32(void) {
    for (uint32_t i = 0; i < 64; i++) {
        float v = below(2) ? unit() * 100.0f : mmoe_float(random_bits());
        check(mmoe_bits(mmoe_exp_f32(v)) == mmoe_bits(reference_mmoe_exp_f32(v)), 0, mmoe_bits(v), 0);
    }
}
static void sqrt_f32(void) {
    for (uint32_t i = 0; i < 64; i++) {
        float v = mmoe_float(random_bits() & 0x7FFFFFFF);
        if (mmoe_bits(v) > 0x7F800000) continue;
        check(mmoe_bits(mmoe_sqrt_f32(v)) == mmoe_bits(reference_mmoe_sqrt_f32(v)), 0, mmoe_bits(v), 0);
    }
}
/* Key/value heads from `cut` on, then those below it, with a scratch that holds nothing of the first call: neither call touches
 * what belongs to the other one. */
static mmoe_status attend_in_two(const mmoe_attention *a, float *qkv, void *kv, uint32_t position, float *out, void *work) {
    const uint32_t cut = below(a->kv_heads + 1u), below_cut = cut * (a->heads / a->kv_heads) * a->head_dim;
    const uint32_t end = (uint32_t)a->heads * a->head_dim;
    for (uint32_t i = 0; i < end; i++) out[i] = mmoe_float(0xDEADBEEF);
    const mmoe_status upper = mmoe_attention_heads_s8(a, qkv, kv, position, out, work, cut, a->kv_heads);
    for (uint32_t i = 0; i < below_cut; i++) check(mmoe_bits(out[i]) == 0xDEADBEEF, 30000 + i, cut, a->head_dim);
    memcpy(y_b + MAX_N, out, 4 * end);
    memset(work, 0x5A, MMOE_ATTENTION_SCRATCH_BYTES(a->heads, a->kv_heads, a->context, a->head_dim));
    const mmoe_status lower = mmoe_attention_heads_s8(a, qkv, kv, position, out, work, 0, cut);
    check(memcmp(y_b + MAX_N + below_cut, out + below_cut, 4 * (end - below_cut)) == 0, 40000, cut, a->head_dim);
    return lower == MMOE_OK ? upper : lower;
}
/* Keys and values alone, first: what the whole attention leaves in the cache is there already. */
static mmoe_status keep_and_attend(const mmoe_attention *a, float *qkv, void *kv, uint32_t position, float *out, void *work) {
    static uint8_t kept[sizeof cache_a];
    const uint32_t bytes = MMOE_KV_BYTES(a->kv_heads, a->context, a->head_dim);
    memcpy(x, qkv, 4u * (a->heads + 2u * a->kv_heads) * a->head_dim);
    const mmoe_status keeping = mmoe_cache_s8(a, x, kv, position, work);
    memcpy(kept, kv, bytes);
    const mmoe_status status = mmoe_attention_s8(a, qkv, kv, position, out, work);
    check(status != MMOE_OK || (keeping == MMOE_OK && memcmp(kept, kv, bytes) == 0), 50000, position, a->head_dim);
    return status;
}
static void compare_attention(mmoe_status (*attend)(const mmoe_attention *, float *, void *, uint32_t, float *, void *)) {
    uint32_t kv_heads = 1 + below(2), group = 1 + below(6), dim = 2 * (1 + below(24));
    if (below(2)) dim = 32;
    uint32_t context = 1 + below(40), heads = kv_heads * group;
    while (MMOE_KV_BYTES(kv_heads, context, dim) > sizeof cache_a ||
           MMOE_ATTENTION_SCRATCH_BYTES(heads, kv_heads, context, dim) + 16 > sizeof scratch)
        context /= 2;
    float *rotation = x + 2048;
    fill(rotation, 2u * context * dim, 0);
    mmoe_attention a = {(uint16_t)heads, (uint16_t)kv_heads, (uint16_t)dim, (uint16_t)context, (uint16_t)below(2), 1e-6f,
                        rotation, rotation + context * dim};
    memset(cache_a, 0xA5, sizeof cache_a);
    memset(cache_b, 0x5A, sizeof cache_b);
    uint32_t n = (heads + 2u * kv_heads) * dim, kind = below(3) ? 10 : below(KINDS);
    for (uint32_t position = 0; position < context; position++) {
        clear(n);
        fill(y_a, n, below(8) ? kind : below(KINDS));
        memcpy(y_b, y_a, 4 * n);
        memset(scratch, 0xA5, sizeof scratch);
        mmoe_status status = attend(&a, y_a, cache_a, position, z, scratch);
        uint32_t bytes = MMOE_ATTENTION_SCRATCH_BYTES(heads, kv_heads, context, dim);
        check(scratch[bytes] == 0xA5, bytes, context, dim);
        memcpy(x, z, 4u * heads * dim);
        check(status == reference_mmoe_attention_s8(&a, y_b, cache_b, position, z, scratch), 0, context, dim);
        if (status != MMOE_OK) break;
        for (uint32_t i = 0; i < heads * dim; i++) check(mmoe_bits(x[i]) == mmoe_bits(z[i]), 10000 + i, context, dim);
        uint32_t cache_bytes = MMOE_KV_BYTES(kv_heads, context, dim);
        check(cache_bytes == sizeof cache_a || cache_a[cache_bytes] == 0xA5, 20000, context, dim);
    }
}
static void attention_s8(void) { compare_attention(mmoe_attention_s8); }
static void attention_heads_s8(void) { compare_attention(attend_in_two); }
static void cache_s8(void) { compare_attention(keep_and_attend); }
static void crc32(void) {
    uint32_t n = below(8) ? below(300) : below(5000), start = below(16);
    for (uint32_t i = 0; i < start + n; i++) weights[i] = (uint8_t)random_bits();
    check(mmoe_crc32(7, weights + start, n) == reference_mmoe_crc32(7, weights + start, n), 0, start, n);
    check(mmoe_crc32(0, "123456789", 9) == 0xCBF43926, 1, 0, 0);
}

static void compare(const char *name, void (*run)(void), uint32_t cases) {
    kernel = name;
    for (case_number = 0; case_number < cases; case_number++) move_floats(), run();
    host_print(name);
    host_print(" ");
    host_print_number(cases);
    host_print("\n");
}

int main(void) {
    compare("mmoe_matvec_s8", matvec_s8, CASES);
    compare("mmoe_matvec_s4g32", matvec_s4g32, CASES);
    compare("mmoe_matvec_widest", matvec_widest, CASES / 40 + 8);
    compare("mmoe_matmul_s8", matmul_s8, CASES);
    compare("mmoe_matmul_s4g32", matmul_s4g32, CASES);
    compare("mmoe_quantize_s8", quantize_s8, CASES);
    compare("mmoe_embed_s8", embed_s8, CASES);
    compare("mmoe_rmsnorm_f32", rmsnorm_f32, CASES);
    compare("mmoe_add_f32", add_f32, CASES);
    compare("mmoe_accumulate_f32", accumulate_f32, CASES);
    compare("mmoe_rotary_f32", rotary_f32, CASES);
    compare("mmoe_rmsnorm_s8", rmsnorm_s8, CASES);
    compare("mmoe_swiglu_s8", swiglu_s8, CASES);
    compare("mmoe_combine_f32", combine_f32, CASES);
    compare("mmoe_route_f32", route_f32, CASES / 2);
    compare("mmoe_argmax_f32", argmax_f32, CASES);
    compare("mmoe_sample_f32", sample_f32, CASES / 4);
    compare("mmoe_exp_f32", exp_f32, CASES);
    compare("mmoe_sqrt_f32", sqrt_f32, CASES);
    compare("mmoe_attention_s8", attention_s8, CASES / 8);
    compare("mmoe_cache_s8", cache_s8, CASES / 16);
    compare("mmoe_attention_heads_s8", attention_heads_s8, CASES / 16);
    compare("mmoe_crc32", crc32, CASES);
    return 0;
}
