/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_exp.h"
#include "mmoe_matmul.h"

/* What comes of the softmax of a head lies in words as a vector's elements do, `step` bytes from one four to the next. */

#ifdef MMOE_TILES

typedef struct {
    float largest;  /* 0 */
    float lanes[4]; /* 4 */
    uint32_t most;  /* 20: bits of the largest weight, which is not negative */
    float constant[6]; /* 24 */
} softmax_state;

#define CLAMP(r) "cmp " r ", r8\nit hi\nmovhi " r ", r8\n"
/* z = e * value_scale with e = exp(z - largest), whose sums go to the lanes; four at a time. Where four differences add up to
 * -87 or more, none of them needs to be clamped. */
static MMOE_NAKED void weigh_fours(MMOE_UNUSED mmoe_word *z, MMOE_UNUSED const float *value_scale, MMOE_UNUSED uint32_t fours,
                                   MMOE_UNUSED softmax_state *state) {
    __asm__("push {r4-r10, lr}\n"
            "vpush {s16-s26}\n"
            "sub sp, sp, #4\n"
            "vldmia r3, {s16-s20}\n" /* s16: largest, s17..s20: lanes */
            "add r4, r3, #24\n"
            "vldmia r4, {s21-s26}\n" /* log2(e), c4..c1, 1 */
            "ldr r12, [r3, #20]\n"
            "movw r8, #0x0000\n"
            "movt r8, #0xC2AE\n"
            "1:\n"
            "vldmia r0, {s0-s3}\n"
            "vsub.f32 s0, s0, s16\n"
            "vsub.f32 s1, s1, s16\n"
            "vsub.f32 s2, s2, s16\n"
            "vsub.f32 s3, s3, s16\n"
            "vadd.f32 s4, s0, s1\n"
            "vadd.f32 s5, s2, s3\n"
            "vadd.f32 s4, s4, s5\n"
            "vmov r4, s4\n"
            "cmp r4, r8\n"
            "bhi 3f\n"
            "2:\n"
            "vmul.f32 s4, s0, s21\n"
            "vmul.f32 s5, s1, s21\n"
            "vmul.f32 s6, s2, s21\n"
            "vmul.f32 s7, s3, s21\n"
            "vcvtr.s32.f32 s8, s4\n"
            "vcvtr.s32.f32 s9, s5\n"
            "vcvtr.s32.f32 s10, s6\n"
            "vcvtr.s32.f32 s11, s7\n"
            "vmov r4, r5, s8, s9\n"
            "vmov r6, r7, s10, s11\n"
            "vcvt.f32.s32 s8, s8\n"
            "vcvt.f32.s32 s9, s9\n"
            "vcvt.f32.s32 s10, s10\n"
            "vcvt.f32.s32 s11, s11\n"
            "vsub.f32 s4, s4, s8\n"
            "vsub.f32 s5, s5, s9\n"
            "vsub.f32 s6, s6, s10\n"
            "vsub.f32 s7, s7, s11\n"
            "vmul.f32 s0, s4, s22\n"
            "vmul.f32 s1, s5, s22\n"
            "vmul.f32 s2, s6, s22\n"
            "vmul.f32 s3, s7, s22\n"
#define TERM(c)                        \
            "vadd.f32 s0, s0, " c "\n" \
            "vadd.f32 s1, s1, " c "\n" \
            "vadd.f32 s2, s2, " c "\n" \
            "vadd.f32 s3, s3, " c "\n"
#define TIMES                          \
            "vmul.f32 s0, s0, s4\n"    \
            "vmul.f32 s1, s1, s5\n"    \
            "vmul.f32 s2, s2, s6\n"    \
            "vmul.f32 s3, s3, s7\n"
            TERM("s23") TIMES TERM("s24") TIMES TERM("s25") TIMES TERM("s26")
            "vmov r9, r10, s0, s1\n"
            "add r4, r9, r4, lsl #23\n"
            "add r5, r10, r5, lsl #23\n"
            "vmov r9, r10, s2, s3\n"
            "vmov s0, s1, r4, r5\n"
            "add r6, r9, r6, lsl #23\n"
            "add r7, r10, r7, lsl #23\n"
            "vmov s2, s3, r6, r7\n"
            "vldmia r1!, {s4-s7}\n"
            "vadd.f32 s17, s17, s0\n"
            "vadd.f32 s18, s18, s1\n"
            "vadd.f32 s19, s19, s2\n"
            "vadd.f32 s20, s20, s3\n" TIMES
            "vmov r4, r5, s0, s1\n"
            "vmov r6, r7, s2, s3\n"
            "vstmia r0!, {s0-s3}\n"
            "cmp r12, r4\n"
            "blo 40f\n"
            "50:\n"
            "cmp r12, r5\n"
            "blo 41f\n"
            "51:\n"
            "cmp r12, r6\n"
            "blo 42f\n"
            "52:\n"
            "cmp r12, r7\n"
            "blo 43f\n"
            "53:\n"
            "subs r2, r2, #1\n"
            "bne 1b\n"
            "vstmia r3, {s16-s20}\n"
            "str r12, [r3, #20]\n"
            "add sp, sp, #4\n"
            "vpop {s16-s26}\n"
            "pop {r4-r10, pc}\n"
            "3:\n"
            "vmov r4, r5, s0, s1\n"
            "vmov r6, r7, s2, s3\n" CLAMP("r4") CLAMP("r5") CLAMP("r6") CLAMP("r7")
            "vmov s0, s1, r4, r5\n"
            "vmov s2, s3, r6, r7\n"
            "b 2b\n"
            "40:\n"
            "mov r12, r4\n"
            "b 50b\n"
            "41:\n"
            "mov r12, r5\n"
            "b 51b\n"
            "42:\n"
            "mov r12, r6\n"
            "b 52b\n"
            "43:\n"
            "mov r12, r7\n"
            "b 53b\n");
}

static inline float largest_score(const mmoe_word *z, uint32_t n) {
    float largest = z->f;
    uint32_t fours = n / 4;
    if (fours)
        __asm__ volatile("1:\n"
                         "vldmia %[z]!, {s0-s3}\n"
                         "vcmp.f32 s0, %[largest]\n"
                         "vmrs APSR_nzcv, fpscr\n"
                         "it gt\n"
                         "vmovgt.f32 %[largest], s0\n"
                         "vcmp.f32 s1, %[largest]\n"
                         "vmrs APSR_nzcv, fpscr\n"
                         "it gt\n"
                         "vmovgt.f32 %[largest], s1\n"
                         "vcmp.f32 s2, %[largest]\n"
                         "vmrs APSR_nzcv, fpscr\n"
                         "it gt\n"
                         "vmovgt.f32 %[largest], s2\n"
                         "vcmp.f32 s3, %[largest]\n"
                         "vmrs APSR_nzcv, fpscr\n"
                         "it gt\n"
                         "vmovgt.f32 %[largest], s3\n"
                         "subs %[fours], %[fours], #1\n"
                         "bne 1b\n"
                         : [z] "+r"(z), [fours] "+r"(fours), [largest] "+t"(largest)
                         :
                         : "s0", "s1", "s2", "s3", "cc", "memory");
    for (uint32_t u = 0; u < n % 4; u++)
        if (z[u].f > largest) largest = z[u].f;
    return largest;
}

/* Softmax of a head whose scores z (n) are scaled: mmoe_softmax_s16 from there on */
static float weigh_scores(mmoe_word *z, uint32_t n, const float *value_scale, uint32_t *words, uint32_t step) {
    const uint32_t whole = n & ~3u;
    softmax_state s = {largest_score(z, n), {0.0f, 0.0f, 0.0f, 0.0f}, 0,
                       {0x1.715476p+0f, 0x1.3a02ccp-7f, 0x1.c9fc46p-5f, 0x1.ec0378p-3f, 0x1.62e12cp-1f, 1.0f}};
    if (whole) weigh_fours(z, value_scale, whole / 4, &s);
    for (uint32_t u = whole; u < n; u++) {
        const float e = mmoe_exp_inline(z[u].f - s.largest), weight = e * value_scale[u];
        s.lanes[u % 4] += e;
        if (mmoe_bits(weight) > s.most) s.most = mmoe_bits(weight);
        z[u].f = weight;
    }
    const float m = mmoe_float(s.most);
    const int counts = m >= MMOE_TINY;
    const uint32_t end = MMOE_PAD(n, 16u) / 4;
    const float k = mmoe_weight_limit(n);
    uint32_t four = counts ? (n + 3) / 4 : 0;
    if (counts) mmoe_round_fours(&z->f, n, k / m, words, step);
    for (words += four * (step / 4); four < end; four++, words += step / 4) words[0] = words[1] = 0;
    return counts ? (m / k) / ((s.lanes[0] + s.lanes[1]) + (s.lanes[2] + s.lanes[3])) : 0.0f;
}

/* Two or four heads, whose queries lie interleaved */
static void attend_together(const mmoe_heads *a, uint32_t heads) {
    static const float ones[4] = {1.0f, 1.0f, 1.0f, 1.0f};
    const uint32_t dim = a->head_dim, scores = MMOE_SCORES(a->context, dim), padded = MMOE_PAD(dim, 16u);
    const uint32_t columns = MMOE_PAD(a->positions, 16u);
    const uint32_t *queries = (const uint32_t *)(const void *)a->queries;
    mmoe_tiles t = {a->keys, queries, queries + heads * padded / 2, 4 * padded, NULL, 0, (a->positions + 3) / 4, 16, a->key_scales,
                    {0}, {0}};
    for (uint32_t h = 0; h < heads; h++) t.y[h] = &a->z[h * scores].f, t.scale[h] = a->factors[h];
    mmoe_tiles_s8(&t, heads);
    uint32_t *const b = (uint32_t *)(void *)a->b;
    for (uint32_t h = 0; h < heads; h++)
        t.scale[h] = weigh_scores(a->z + h * scores, a->positions, a->value_scales, b + 2 * h, 8 * heads);
    t.weights = a->values, t.input = b, t.input_end = b + heads * columns / 2;
    t.tile_bytes = 4 * columns, t.skip = 4 * (MMOE_PAD(a->context, 16u) - columns), t.tiles = (dim + 3) / 4;
    t.row_scales = ones, t.row_step = 0;
    for (uint32_t h = 0; h < heads; h++) t.y[h] = dim % 4 ? &a->z[h * scores].f : a->out + h * dim;
    mmoe_tiles_s8(&t, heads);
    for (uint32_t h = 0; h < heads && dim % 4; h++) memcpy(a->out + h * dim, a->z + h * scores, dim * sizeof(float));
}

static void attend_alone(const mmoe_heads *a) {
    const uint32_t dim = a->head_dim, columns = MMOE_PAD(a->positions, 16u);
    mmoe_sums_s8(&(mmoe_sums){a->keys, NULL, a->queries, MMOE_PAD(dim, 16u) / 16, 0, a->z, (a->positions + 3) / 4});
    mmoe_scale_sums(a->z, a->positions, a->factors[0], a->key_scales);
    const float factor = weigh_scores(a->z, a->positions, a->value_scales, (uint32_t *)(void *)a->b, 8);
    mmoe_sums_s16(&(mmoe_sums){a->values, NULL, a->b, columns / 16, 4 * (MMOE_PAD(a->context, 16u) - columns), a->z, (dim + 3) / 4});
    for (uint32_t i = 0; i < dim; i++) a->out[i] = (float)a->z[i].i * factor;
}

void mmoe_attend_s8(const mmoe_heads *heads) {
    const uint32_t together = heads->count < 4 ? heads->count & ~1u : 4;
    if (together) attend_together(heads, together);
    if (together == heads->count) return;
    mmoe_heads last = *heads;
    last.queries += together * MMOE_QUERY_BYTES(heads->head_dim);
    last.factors[0] = heads->factors[together];
    last.out += together * heads->head_dim;
    attend_alone(&last);
}

#else

#include "../reference/mmoe_attend_s8.c"

#endif
