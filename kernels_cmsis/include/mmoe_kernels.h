/* SPDX-License-Identifier: Apache-2.0
 *
 * Kernels of mmoe-embed. SPEC.md sections 3 and 5 define every one of them to the bit: each folder (reference, dsp, mve,
 * ...) gives the same functions with the same results, and only the speed differs.
 *
 * Common contract: pointers are valid and do not overlap unless said; float buffers are 4-byte, activation and weight
 * buffers 16-byte aligned. Kernels do not check what the emitted model's static assertions already prove.
 */
#ifndef MMOE_KERNELS_H
#define MMOE_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "mmoe_status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MMOE_PAD(n, m) (((n) + (m) - 1) / (m) * (m))
#define MMOE_ROWS 4   /* rows that lie interleaved in a packed matrix */
#define MMOE_GROUP 32 /* columns that share one INT4 group scale */
#define MMOE_GROUPS(n) (((n) + MMOE_GROUP - 1) / MMOE_GROUP)
#define MMOE_MAX_COLUMNS 8192

/* A packed weight matrix (SPEC.md 5), in flash or in an expert slot. */
typedef struct {
    uint32_t rows;
    uint16_t columns;            /* 1..MMOE_MAX_COLUMNS */
    uint16_t bits;               /* 8, or 4 with groups of 32 */
    const void *weights;         /* (pad(rows, 4) / 4, blocks, 4, 16) bytes: SPEC.md 5 */
    const uint8_t *group_scales; /* bits 4: (pad(rows, 4) / 4, groups, 4), 4-byte aligned; else NULL */
    const float *row_scales;     /* (pad(rows, 4)) */
} mmoe_matrix;

/* Blocks of 16 bytes that a packed row has */
static inline uint32_t mmoe_row_blocks(const mmoe_matrix *w) {
    return w->bits == 4 ? MMOE_GROUPS((uint32_t)w->columns) : MMOE_PAD(w->columns, 16u) / 16;
}

/* Rows first..first+count of a packed matrix, as a matrix; first: a multiple of MMOE_ROWS. */
static inline mmoe_matrix mmoe_matrix_rows(const mmoe_matrix *w, uint32_t first, uint32_t count) {
    const uint32_t blocks = mmoe_row_blocks(w);
    mmoe_matrix part = *w;
    part.rows = count;
    part.weights = (const uint8_t *)w->weights + (size_t)first * 16 * blocks;
    if (w->bits == 4) part.group_scales += (size_t)first * blocks;
    part.row_scales += first;
    return part;
}

/* A quantized activation: written by mmoe_quantize_s8, read by mmoe_matvec. The layout behind the scale is private to
 * the instruction set's folder; every layout fits MMOE_VECTOR_BYTES(n). */
typedef struct {
    float scale;
    uint32_t reserved[3];
} mmoe_vector;
#define MMOE_VECTOR_BYTES(n) (16 + MMOE_PAD(4 * MMOE_GROUPS(n), 16) + 2 * MMOE_PAD(n, 32))

/* int8 (n) activation from float (n), SPEC.md 3.2. vector: MMOE_VECTOR_BYTES(n) bytes, 16-byte aligned.
 * Returns MMOE_E_NUMERIC when an x is 2^60 or more in magnitude, or NaN. */
mmoe_status mmoe_quantize_s8(const float *x, uint32_t n, mmoe_vector *vector);

/* y (rows) = W x, SPEC.md 3.3. x: quantized with n = w->columns. */
void mmoe_matvec(const mmoe_matrix *w, const mmoe_vector *x, float *y);

/* The same for count vectors, 1..MMOE_BATCH: y[i] (rows) = W x[i]. The weights are read once for several of them where that is
 * faster. scratch: MMOE_MATMUL_SCRATCH_BYTES, 16-byte aligned; not used, and may be NULL, when count is 1. */
#define MMOE_BATCH 64
#define MMOE_AT_ONCE 4 /* vectors, or heads, that registers hold the sums of */
#define MMOE_MATMUL_SCRATCH_BYTES(columns, count) (2 * MMOE_AT_ONCE * MMOE_PAD(columns, MMOE_GROUP) + 16 * (count))
void mmoe_matmul(const mmoe_matrix *w, const mmoe_vector *const *x, float *const *y, uint32_t count, void *scratch);

/* x (columns) = row `row` of an INT8 matrix, as float: SPEC.md 3.5 step 1. */
void mmoe_embed_s8(const mmoe_matrix *w, uint32_t row, float *x);

/* y_i = (x_i * r) * w_i, SPEC.md 3.4; w NULL: y_i = x_i * r. y may be x. */
void mmoe_rmsnorm_f32(const float *x, const float *w, uint32_t n, float eps, float *y);

/* The same with a weight, and q = y quantized (3.2). y is not x; q: MMOE_VECTOR_BYTES(n), 16-byte aligned. Returns
 * MMOE_E_NUMERIC as mmoe_quantize_s8 does. */
mmoe_status mmoe_rmsnorm_s8(const float *x, const float *w, uint32_t n, float eps, float *y, mmoe_vector *q);

/* y_i = (x_i - mean_c) * gain_c, c = i mod channels, SPEC.md 3.8 */
void mmoe_normalize_f32(const float *x, const float *mean, const float *gain, uint32_t channels, uint32_t n, float *y);

/* y_i = y_i + x_i */
void mmoe_add_f32(const float *x, uint32_t n, float *y);

/* Rotates one head in place: x (head_dim), cosine and sine (head_dim / 2) of this position. */
void mmoe_rotary_f32(float *x, const float *cosine, const float *sine, uint32_t head_dim);

/* q = silu(gate_up_i) * gate_up_{n+i}, quantized: SPEC.md 3.5 step 2.8. gate_up (2 n) is the product of a matrix and a vector
 * of this scale, and is used up; q: MMOE_VECTOR_BYTES(n), 16-byte aligned. Returns MMOE_E_NUMERIC as mmoe_quantize_s8 does. */
mmoe_status mmoe_swiglu_s8(float *gate_up, uint32_t n, float scale, mmoe_vector *q);

/* y_i = y_i + gate * x_i (two roundings) */
void mmoe_accumulate_f32(const float *x, float gate, uint32_t n, float *y);

/* x_i = x_i + o_i, where o is `sum` (n) to which gate_k times row k of `outputs` were added one after the other, as
 * mmoe_accumulate_f32 does: `count` rows of n floats, `stride` floats apart. */
void mmoe_combine_f32(const float *sum, const float *outputs, uint32_t stride, const float *gate, uint32_t count, uint32_t n,
                      float *x);

/* How one layer chooses its experts */
typedef struct {
    uint16_t experts, top_k; /* 1 <= top_k <= 16, top_k <= experts <= 255 */
    uint8_t softmax;         /* scores are 0: sigmoids, 1: a softmax */
    uint8_t as_scored;       /* 1: the chosen scores are not divided by their sum */
    float scaling;
    const float *weight, *bias; /* (experts, n), (experts) */
} mmoe_router;

/* Chooses top_k experts, SPEC.md 3.5 step 2.7. x (n) float. expert: the chosen, rising; gate: their weights.
 * scratch: MMOE_PAD(2 * experts, 4) floats; the bias may be its first half. */
void mmoe_route_f32(const mmoe_router *router, const float *x, uint32_t n, uint8_t *expert, float *gate, float *scratch);

/* sigmoid of the sum of x_i * w_i, SPEC.md 3.5 step 2.8: how much the shared expert counts */
float mmoe_gate_f32(const float *x, const float *w, uint32_t n);

/* Index of the largest, the lowest among equals. n >= 1 */
uint32_t mmoe_argmax_f32(const float *x, uint32_t n);

/* How tokens are drawn, SPEC.md 3.7 */
typedef struct {
    float temperature; /* 0.001 to 1000 */
    uint32_t top_k;    /* 0: all */
    uint32_t seed;
} mmoe_sampling;

/* The token drawn from logits z (n) for a position. 1 <= n <= 2^20 */
uint32_t mmoe_sample_f32(const float *z, uint32_t n, const mmoe_sampling *sampling, uint32_t position);

float mmoe_exp_f32(float x);  /* SPEC.md 3.1 */
float mmoe_sqrt_f32(float x); /* correctly rounded, x >= 0 */

/* Attention of one layer over its INT8 cache. */
typedef struct {
    uint16_t heads, kv_heads, head_dim, context; /* heads is a multiple of kv_heads, head_dim is even */
    uint16_t qk_norm;                            /* 1: head norm after rotary */
    float eps;
    const float *cosine, *sine; /* (context, head_dim / 2) */
} mmoe_attention;

/* The cache of one layer is private to the folder; it needs no clearing. Scales are read in fours: that of a context of one
 * position has room for a second one. */
#define MMOE_KV_BYTES(kv_heads, context, head_dim) \
    MMOE_PAD((kv_heads) * (2 * MMOE_PAD(context, 16) * MMOE_PAD(head_dim, 16) + 8 * ((context) > 1 ? (context) : 2)), 16)
#define MMOE_HEADS_AT_ONCE(group) ((group) < MMOE_AT_ONCE ? (group) : MMOE_AT_ONCE) /* of those that share keys and values */
#define MMOE_SCORES(context, head_dim) MMOE_PAD((context) > (head_dim) ? (context) : (head_dim), 4)
#define MMOE_ATTENTION_SCRATCH_BYTES(heads, kv_heads, context, head_dim)                                 \
    (MMOE_HEADS_AT_ONCE((heads) / (kv_heads)) *                                                          \
         (4 * MMOE_SCORES(context, head_dim) + 2 * MMOE_PAD(context, 16) + 2 * MMOE_PAD(head_dim, 16)) + \
     2 * MMOE_PAD(head_dim, 16))

/* SPEC.md 3.5 steps 2.2 to 2.4. qkv ((heads + 2 kv_heads) * head_dim) is used up; kv: MMOE_KV_BYTES, this layer's;
 * position < context; out (heads * head_dim), which may be qkv; scratch 16-byte aligned. Returns MMOE_E_NUMERIC as quantize does. */
mmoe_status mmoe_attention_s8(const mmoe_attention *a, float *qkv, void *kv, uint32_t position, float *out, void *scratch);

/* The same of key/value heads first..end - 1 alone, and of the query heads that share them: nothing that other heads have is
 * touched, so several calls, each with a scratch of its own, may run at once. */
mmoe_status mmoe_attention_heads_s8(const mmoe_attention *a, float *qkv, void *kv, uint32_t position, float *out, void *scratch,
                                    uint32_t first, uint32_t end);

/* Only what later positions need of this one, its keys and values, is made: the bits that mmoe_attention_s8 leaves in kv. */
mmoe_status mmoe_cache_s8(const mmoe_attention *a, float *qkv, void *kv, uint32_t position, void *scratch);

/* CRC-32 of zlib; start with crc = 0. */
uint32_t mmoe_crc32(uint32_t crc, const void *data, uint32_t length);

#ifdef __cplusplus
}
#endif
#endif
