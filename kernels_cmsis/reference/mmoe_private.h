/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MMOE_PRIVATE_H
#define MMOE_PRIVATE_H

#include <string.h>

#include "mmoe_kernels.h"

/* What the kernels share among themselves; an instruction set's folder may replace any of these functions too. */

/* The processor has float instructions. MMOE_SOFT_FLOAT: as if it had none, to test what is for those that do not. */
#if (defined(__SSE2__) || defined(__aarch64__) || (defined(__ARM_FP) && (__ARM_FP & 4))) && !defined(MMOE_SOFT_FLOAT)
#define MMOE_HARD_FLOAT 1
#endif

#define MMOE_TINY 0x1.0p-64f /* a largest magnitude below this quantizes to zero */
#define MMOE_LIMIT_BITS 0x5D800000u /* 2^60: from here on, and for infinity and NaN, nothing is quantized */

/* The arrays of an activation vector: reference and mve keep int8 (pad 32) behind the header. */
static inline int8_t *mmoe_vector_s8(mmoe_vector *v) { return (int8_t *)(v + 1); }
static inline const int8_t *mmoe_vector_const_s8(const mmoe_vector *v) { return (const int8_t *)(v + 1); }

/* The value that a word holds changes on the way: sums become f32 in place, f32 is looked at bit by bit. */
typedef union {
    int32_t i;
    float f;
    uint32_t u;
} mmoe_word;

static inline uint32_t mmoe_bits(float x) { return (mmoe_word){.f = x}.u; }
static inline float mmoe_float(uint32_t bits) { return (mmoe_word){.u = bits}.f; }

/* x, kept out of vector registers: MVE rounds subnormal numbers to zero, which the written arithmetic does not, and
 * compilers turn plain loops into MVE. One operand of a sum or a product in each loop is enough. */
static inline float mmoe_scalar(float x) {
#if defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 2)
    __asm__("" : "+t"(x));
#endif
    return x;
}

/* Nearest integer, ties to even; |x| <= 2^22. Adding 1.5 * 2^23 leaves the integer in the low bits. */
static inline int32_t mmoe_rint(float x) { return (int32_t)(mmoe_bits(x + 0x1.8p23f) - 0x4B400000u); }

/* What the largest weight of a softmax over n positions is rounded to (SPEC.md 3.5): no sum of n of them overflows. */
static inline float mmoe_weight_limit(uint32_t n) {
    const uint32_t limit = (1u << 24) / n;
    return (float)(int32_t)(limit < 32767u ? limit : 32767u);
}

/* max |x_i|; infinite or NaN when an x is */
float mmoe_largest_f32(const float *x, uint32_t n);

/* mmoe_quantize_s8 into plain int8 (n), without padding. */
mmoe_status mmoe_quantize_row_s8(const float *x, uint32_t n, int8_t *q, float *scale);

void mmoe_matvec_s8(const mmoe_matrix *w, const mmoe_vector *x, float *y);
void mmoe_matvec_s4g32(const mmoe_matrix *w, const mmoe_vector *x, float *y);

/* mmoe_matmul of 2..MMOE_BATCH vectors */
void mmoe_matmul_s8(const mmoe_matrix *w, const mmoe_vector *const *x, float *const *y, uint32_t count, void *scratch);
void mmoe_matmul_s4g32(const mmoe_matrix *w, const mmoe_vector *const *x, float *const *y, uint32_t count, void *scratch);

/* One of these by a function that takes 2..MMOE_AT_ONCE vectors */
typedef void (*mmoe_matmul_part)(const mmoe_matrix *w, const mmoe_vector *const *x, float *const *y, uint32_t count, void *scratch);
static inline void mmoe_matmul_in_parts(mmoe_matmul_part part, const mmoe_matrix *w, const mmoe_vector *const *x, float *const *y,
                                        uint32_t count, void *scratch) {
    for (; count > 1; x += MMOE_AT_ONCE, y += MMOE_AT_ONCE) {
        const uint32_t some = count < MMOE_AT_ONCE ? count : MMOE_AT_ONCE;
        part(w, x, y, some, scratch);
        count -= some;
    }
    if (count) mmoe_matvec(w, x[0], y[0]);
}

/* Exact sums of products of packed rows, tiles of four (SPEC.md 5), with one input. */
typedef struct {
    const void *weights;         /* of the first tile */
    const uint8_t *group_scales; /* s4g32 only */
    const void *input;           /* 16-byte aligned; s8 and s4g32: as behind an activation's header; s16: mmoe_softmax_s16's */
    uint32_t blocks;             /* of 16 columns, INT4: 32; at least 1 */
    uint32_t skip;               /* bytes between the end of a tile and the next one; s4g32: 0 */
    mmoe_word *sums;             /* .i (4 tiles) */
    uint32_t tiles;              /* at least 1 */
} mmoe_sums;
void mmoe_sums_s8(const mmoe_sums *sums);
void mmoe_sums_s4g32(const mmoe_sums *sums);
void mmoe_sums_s16(const mmoe_sums *sums); /* int8 weights, int16 input */

/* y (rows) holds sums in .i; makes them f32(sum) * (scale * row_scales) in .f. */
void mmoe_scale_sums(mmoe_word *y, uint32_t rows, float scale, const float *row_scales);

/* r of SPEC.md 3.4: 1 / sqrt(mean of squares + eps) */
float mmoe_rms_f32(const float *x, uint32_t n, float eps);

/* y_r = lanes(x_i * w_ri) of SPEC.md 3.1, for rows of w (rows, n) */
void mmoe_dots_f32(const float *x, const float *w, uint32_t n, uint32_t rows, float *y);

/* x = sigmoid(x) of SPEC.md 3.1 */
void mmoe_sigmoid_f32(float *x, uint32_t n);

/* x_i = exp(x_i - max x) / lanes(exp(x_i - max x)) */
void mmoe_softmax_f32(float *x, uint32_t n);

/* expert (top_k): those with the largest score + bias, ties to the lower index, rising. top_k <= 16; key: scratch
 * (experts), and readable up to a multiple of 4; it may be bias */
void mmoe_choose_f32(const float *score, const float *bias, uint32_t experts, uint32_t top_k, uint8_t *expert, int32_t *key);

/* --- attention --------------------------------------------------------------------------------------------------------- */

/* One key/value head of the cache is two packed INT8 matrices: keys, rows are positions and columns head_dim; then values,
 * rows are head_dim and columns positions. */
#define MMOE_KEY_BYTES(context, head_dim) (MMOE_PAD(context, 4u) * MMOE_PAD(head_dim, 16u))
#define MMOE_VALUE_BYTES(context, head_dim) (MMOE_PAD(head_dim, 4u) * MMOE_PAD(context, 16u))

/* Bytes of one query head in the form that mmoe_sums_s8 reads. */
#define MMOE_QUERY_BYTES(head_dim) (2 * MMOE_PAD(head_dim, 16u))

/* SPEC.md 3.5 step 2.2 on a head of queries or keys, in place */
static inline void mmoe_turn_head(const mmoe_attention *a, float *x, uint32_t position) {
    const uint32_t half = a->head_dim / 2u;
    mmoe_rotary_f32(x, a->cosine + position * half, a->sine + position * half, a->head_dim);
    if (a->qk_norm) mmoe_rmsnorm_f32(x, NULL, a->head_dim, a->eps, x);
}

/* Keeps a position's key and value (pad(head_dim, 16)) in one key/value head of the cache. */
void mmoe_keep_s8(int8_t *keys, int8_t *values, uint32_t context, uint32_t dim, uint32_t position, const int8_t *k,
                  const int8_t *v);

/* Turns a head of keys, which uses it up, and quantizes it into plain int8. Returns MMOE_E_NUMERIC as quantize does. */
mmoe_status mmoe_head_s8(const mmoe_attention *a, float *x, uint32_t position, int8_t *q, float *scale);

/* The same of a head of queries, number `head` of the `count` that mmoe_attend_s8 takes together: into its share of `queries`
 * (count, MMOE_QUERY_BYTES), zero until now, in a form that is the folder's own. */
mmoe_status mmoe_query_s8(const mmoe_attention *a, float *x, uint32_t position, int8_t *queries, uint32_t head, uint32_t count,
                          float *scale);

/* Query heads that share one key/value head, at one position */
typedef struct {
    const int8_t *keys, *values;
    const float *key_scales, *value_scales;       /* (positions) */
    uint32_t positions, context, head_dim, count; /* count: of heads, 1..MMOE_AT_ONCE */
    const int8_t *queries;                        /* (count, MMOE_QUERY_BYTES(head_dim)) */
    float factors[MMOE_AT_ONCE];                  /* s_q * w */
    mmoe_word *z;                                 /* scratch (count, MMOE_SCORES(context, head_dim)) */
    int16_t *b;                                   /* scratch (count, pad(context, 16)) */
    float *out;                                   /* (count, head_dim) */
} mmoe_heads;

/* SPEC.md 3.5 step 2.4: scores, softmax and the weighted sum of values. */
void mmoe_attend_s8(const mmoe_heads *heads);

/* Softmax of one head, SPEC.md 3.5 step 2.4: z (n) holds int32 sums on entry and is used up; factor = s_q * w. Writes b in
 * the form that mmoe_sums_s16 reads, zero from n to pad(n, 16), and returns what its sums are multiplied with; 0 when they
 * count as zero, b being zero then. */
float mmoe_softmax_s16(mmoe_word *z, uint32_t n, float factor, const float *key_scale, const float *value_scale,
                       int16_t *b);

#endif
