/* SPDX-License-Identifier: Apache-2.0
 *
 * No kernel reads or writes behind its buffers: each buffer in turn ends where memory ends. -DOVERRUN reads behind the end,
 * to show that this is noticed. */
#include <string.h>

#include "host.h"
#include "mmoe_kernels.h"

enum { MOST = 3 * 4 * 1024 + 256, MANY = 16 };
static _Alignas(16) uint8_t plain[16][MOST];
static uint32_t guarded, next;

/* The next buffer of `bytes`, at a multiple of `alignment`; the one numbered `guarded` ends at the guard. */
static void *buffer(uint32_t bytes, uint32_t alignment) {
    uint8_t *p = next == guarded ? (uint8_t *)host_guard_end() - MMOE_PAD(bytes, alignment) : plain[next % 16];
    next++;
    for (uint32_t i = 0; i < bytes; i++) p[i] = (uint8_t)(i * 7 + next);
    return p;
}
static float *floats(uint32_t n) {
    float *p = buffer(4 * n, 4);
    for (uint32_t i = 0; i < n; i++) p[i] = (float)(int32_t)(i % 17) * 0.25f - 1.0f;
    return p;
}

static void matvec(uint32_t bits, uint32_t rows, uint32_t columns) {
    uint32_t padded = MMOE_PAD(rows, 4), groups = MMOE_GROUPS(columns);
    const void *weights = buffer(padded * (bits == 8 ? MMOE_PAD(columns, 16) : 16 * groups), 16);
    const uint8_t *group_scales = bits == 4 ? buffer(padded * groups, 4) : NULL;
    const mmoe_matrix w = {rows, (uint16_t)columns, (uint16_t)bits, weights, group_scales, floats(padded)};
    mmoe_vector *x = buffer(MMOE_VECTOR_BYTES(columns), 16);
    (void)mmoe_quantize_s8(floats(columns), columns, x);
    mmoe_matvec(&w, x, floats(rows));
    mmoe_vector *last = buffer(MMOE_VECTOR_BYTES(columns), 16);
    memcpy(last, x, MMOE_VECTOR_BYTES(columns));
    const mmoe_vector *in[MANY];
    float *out[MANY] = {floats(rows), floats(rows), floats(rows), floats(rows)};
    for (uint32_t i = 0; i < MANY; i++) in[i] = i + 1 < MANY ? x : last, out[i] = out[i % 4];
    void *scratch = buffer(MMOE_MATMUL_SCRATCH_BYTES(columns, MANY), 16);
    for (uint32_t count = 2; count <= MANY; count = count < 4 ? count + 1 : 4 * count)
        mmoe_matmul(&w, in + MANY - count, out, count, scratch);
    if (bits == 8) mmoe_embed_s8(&w, rows - 1, floats(columns));
}

static void elementwise(uint32_t n) {
    float *x = floats(n), *y = floats(n);
    mmoe_rmsnorm_f32(x, floats(n), n, 1e-6f, y);
    mmoe_rmsnorm_f32(x, NULL, n, 1e-6f, y);
    mmoe_add_f32(x, n, y);
    mmoe_accumulate_f32(x, 0.5f, n, y);
    mmoe_normalize_f32(x, floats(1 + n % 5), floats(1 + n % 5), 1 + n % 5, n, y);
    mmoe_combine_f32(x, floats(3 * n), n, floats(3), 3, n, y);
    (void)mmoe_swiglu_s8(floats(2 * n), n, 1.0f, buffer(MMOE_VECTOR_BYTES(n), 16));
    (void)mmoe_rmsnorm_s8(x, floats(n), n, 1e-6f, y, buffer(MMOE_VECTOR_BYTES(n), 16));
    (void)mmoe_argmax_f32(x, n);
    const mmoe_sampling sampling = {0.7f, n % 3, n};
    (void)mmoe_sample_f32(x, n, &sampling, n);
    (void)mmoe_crc32(0, x, 4 * n);
    if (n % 2 == 0) mmoe_rotary_f32(x, floats(n / 2), floats(n / 2), n);
}

static void route(uint32_t experts, uint32_t n) {
    mmoe_router router = {.experts = (uint16_t)experts, .top_k = (uint16_t)(experts < 3 ? experts : 3), .scaling = 1.0f};
    const float *x = floats(n);
    router.weight = floats(experts * n), router.bias = floats(experts), router.softmax = n % 2;
    mmoe_route_f32(&router, x, n, buffer(router.top_k, 1), floats(router.top_k), floats(MMOE_PAD(2 * experts, 4)));
    (void)mmoe_gate_f32(x, router.weight, n);
}

static void attention(uint32_t heads, uint32_t kv_heads, uint32_t dim, uint32_t context) {
    const float *cosine = floats(context * dim / 2), *sine = floats(context * dim / 2);
    const mmoe_attention a = {(uint16_t)heads, (uint16_t)kv_heads, (uint16_t)dim, (uint16_t)context, 1, 1e-6f, cosine, sine};
    float *qkv = floats((heads + 2 * kv_heads) * dim), *out = floats(heads * dim);
    void *kv = buffer(MMOE_KV_BYTES(kv_heads, context, dim), 16);
    void *scratch = buffer(MMOE_ATTENTION_SCRATCH_BYTES(heads, kv_heads, context, dim), 16);
    for (uint32_t p = 0; p < context; p++) (void)mmoe_attention_s8(&a, qkv, kv, p, out, scratch);
    for (uint32_t head = 0; head < kv_heads; head++)
        (void)mmoe_attention_heads_s8(&a, qkv, kv, context - 1, out, scratch, head, head + 1);
}

int main(void) {
#ifdef OVERRUN
    return ((volatile uint8_t *)host_guard_end())[0] & 0;
#endif
    for (uint32_t size = 1; size < 70; size += size < 36 ? 1 : 11) {
        for (guarded = 0; guarded < 13; guarded++) {
            next = 0, matvec(8, 1 + size % 9, size);
            next = 0, matvec(4, 1 + size % 9, size);
            next = 0, elementwise(size);
            next = 0, route(1 + size % 7, size);
            next = 0, attention(2 + 2 * (size % 2), 2, 2 + size % 20 / 2 * 2, 1 + size % 19);
        }
    }
    static const uint16_t wide[][2] = {/* columns, rows: past what kernels do for short rows alone */
        {511, 5}, {512, 1}, {512, 4}, {544, 3}, {1024, 2}, {1024, 5}};
    for (uint32_t i = 0; i < sizeof wide / sizeof *wide; i++) {
        for (guarded = 0; guarded < 13; guarded++) {
            next = 0, matvec(8, wide[i][1], wide[i][0]);
            next = 0, matvec(4, wide[i][1], wide[i][0]);
            next = 0, elementwise(wide[i][0]);
            next = 0, route(3, wide[i][0]);
        }
    }
    for (guarded = 0; guarded < 13; guarded++) next = 0, attention(8, 2, 32, 40);
    host_print("guard ok\n");
    return 0;
}
