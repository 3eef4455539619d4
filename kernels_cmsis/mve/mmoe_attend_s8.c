/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_exp.h"

#define mmoe_attend_s8 attend_in_turn
static void attend_in_turn(const mmoe_heads *a);
#include "../reference/mmoe_attend_s8.c"
#undef mmoe_attend_s8

#if __ARM_FEATURE_MVE & 2

/* Two heads go together: a load of keys or values serves both. */

typedef struct {
    const int8_t *keys;      /* 0 */
    const float *key_scales; /* 4 */
    const int8_t *query[2];  /* 8 */
    float *z[2];             /* 16 */
    float *z_end;            /* 24: of the first one */
    float factor[2];         /* 28 */
    uint32_t blocks;         /* 36: of 16 columns */
} pair_scores;

/* q0, q1 the queries' block; a row's block of keys meets both. r0, r2, r4, r6 are the first head's sums, r8, r10, r12, lr the
 * second's. */
#define KEY_ROW(op, s, t)          \
    "vldrb.8 q4, [r1], #16\n"      \
    op ".s8 " s ", q0, q4\n"       \
    op ".s8 " t ", q1, q4\n"
#define KEY_BLOCK(op) KEY_ROW(op, "r0", "r8") KEY_ROW(op, "r2", "r10") KEY_ROW(op, "r4", "r12") KEY_ROW(op, "r6", "lr")
/* Two blocks stay in q0..q3. */
#define HELD_ROW(op, a, b, s, t)   \
    "vldrb.8 q4, [r1], #16\n"      \
    op ".s8 " s ", " a ", q4\n"    \
    op ".s8 " t ", " b ", q4\n"
#define HELD_BLOCK(op, a, b)                                                                        \
    HELD_ROW(op, a, b, "r0", "r8") HELD_ROW(op, a, b, "r2", "r10") HELD_ROW(op, a, b, "r4", "r12")  \
    HELD_ROW(op, a, b, "r6", "lr")
/* z = f32(sums) * (factor * key_scales) of four positions; r3, r5: z, r7: key scales, r9, r11: factors */
#define SCALE_SCORES                  \
    "vmov q5[2], q5[0], r0, r4\n"     \
    "vldrw.32 q4, [r7], #16\n"        \
    "vmov q5[3], q5[1], r2, r6\n"     \
    "vmov q6[2], q6[0], r8, r12\n"    \
    "vmul.f32 q7, q4, r9\n"           \
    "vmov q6[3], q6[1], r10, lr\n"    \
    "vcvt.f32.s32 q5, q5\n"           \
    "vmul.f32 q4, q4, r11\n"          \
    "vcvt.f32.s32 q6, q6\n"           \
    "vmul.f32 q5, q5, q7\n"           \
    "vmul.f32 q6, q6, q4\n"           \
    "vstrw.32 q5, [r3], #16\n"        \
    "vstrw.32 q6, [r5], #16\n"

static MMOE_NAKED void score_two_blocks(MMOE_UNUSED const pair_scores *p) {
    __asm__("push {r4-r11, lr}\n"
            "vpush {d8-d15}\n"
            "ldrd r4, r6, [r0, #8]\n"
            "vldrb.8 q0, [r4]\n"
            "vldrb.8 q1, [r4, #16]\n"
            "vldrb.8 q2, [r6]\n"
            "vldrb.8 q3, [r6, #16]\n"
            "ldrd r1, r7, [r0]\n"
            "ldrd r3, r5, [r0, #16]\n"
            "ldrd r9, r11, [r0, #28]\n"
            "ldr r2, [r0, #24]\n"
            "push {r2}\n"
            "1:\n" HELD_BLOCK("vmladav", "q0", "q2") HELD_BLOCK("vmladava", "q1", "q3") SCALE_SCORES
            "ldr r0, [sp]\n"
            "cmp r3, r0\n"
            "blo 1b\n"
            "add sp, sp, #4\n"
            "vpop {d8-d15}\n"
            "pop {r4-r11, pc}\n");
}

static MMOE_NAKED void score_blocks(MMOE_UNUSED const pair_scores *p) {
    __asm__("push {r4-r11, lr}\n"
            "vpush {d8-d15}\n"
            "push {r0}\n"
            "mov r9, r0\n"
            "ldrd r1, r11, [r0]\n"
            "ldrd r2, r4, [r0, #16]\n"
            "push {r2, r4, r11}\n" /* z, z, key scales */
            "0:\n"
            "ldr r9, [sp, #12]\n"
            "ldrd r3, r5, [r9, #8]\n"
            "ldr r7, [r9, #36]\n"
            "vldrb.8 q0, [r3], #16\n"
            "vldrb.8 q1, [r5], #16\n" KEY_BLOCK("vmladav")
            "b 2f\n"
            "1:\n"
            "vldrb.8 q0, [r3], #16\n"
            "vldrb.8 q1, [r5], #16\n" KEY_BLOCK("vmladava")
            "2:\n"
            "subs r7, r7, #1\n"
            "bne 1b\n"
            "ldr r5, [sp, #12]\n"
            "ldrd r9, r11, [r5, #28]\n"
            "ldr r7, [sp, #8]\n"
            "ldrd r3, r5, [sp]\n" SCALE_SCORES
            "ldr r0, [sp, #12]\n"
            "strd r3, r5, [sp]\n"
            "str r7, [sp, #8]\n"
            "ldr r0, [r0, #24]\n"
            "cmp r3, r0\n"
            "blo 0b\n"
            "add sp, sp, #16\n"
            "vpop {d8-d15}\n"
            "pop {r4-r11, pc}\n");
}

typedef struct {
    float *z;                  /* 0: scores of the first head */
    int16_t *b;                /* 4: its weights */
    float *factor;             /* 8: what the heads' sums are to be multiplied with */
    const float *z_end;        /* 12: behind the last head */
    uint32_t z_bytes, b_bytes; /* 16, 20: from one head to the next */
    const float *value_scales; /* 24 */
    uint32_t positions;        /* 28: at least 1 */
    float limit;               /* 32: mmoe_weight_limit */
} weighing;

/* The softmax of each head: its largest score; e = exp(z - largest), z = e * value_scale; b = z * (limit / max z), rounded, and
 * zero up to eight. r10: z, r11: b, r12: the weighing, q7: minus infinity */
static MMOE_NAKED void weigh(MMOE_UNUSED weighing *w) {
    __asm__("push {r4-r11, lr}\n"
            "vpush {d8-d15}\n"
            "mov r12, r0\n" MMOE_EXP_CONSTANTS
            "movw r2, #0\n"
            "movt r2, #0xFF80\n"
            "vdup.32 q7, r2\n"
            "ldrd r10, r11, [r12]\n"
            "0:\n"
            "mov r0, r10\n"
            "vmov r2, s28\n"
            "vmov q4, q7\n"
            "ldr lr, [r12, #28]\n"
            "dlstp.32 lr, lr\n"
            "1:\n"
            "vldrw.32 q1, [r0], #16\n"
            "vmaxnm.f32 q4, q4, q1\n"
            "letp lr, 1b\n"
            "vmaxnmv.f32 r2, q4\n"
            "mov r0, r10\n"
            "vmov.i32 q4, #0\n"
            "ldr r1, [r12, #24]\n"
            "vmov.i32 q5, #0\n"
            "ldr lr, [r12, #28]\n"
            "dlstp.32 lr, lr\n"
            "2:\n" MMOE_WEIGH_FOUR
            "letp lr, 2b\n"
            "vadd.f32 s16, s16, s17\n"
            "movs r1, #0\n"
            "vadd.f32 s18, s18, s19\n"
            "vmaxnmv.f32 r1, q5\n"
            "vldr s17, [r12, #32]\n"
            "vmov s20, r1\n"
            "vadd.f32 s16, s16, s18\n"
            "vdiv.f32 s19, s17, s20\n"
            "vdiv.f32 s18, s20, s17\n"
            "vdiv.f32 s18, s18, s16\n"
            "cmp r1, #0x1F800000\n" /* MMOE_TINY */
            "bhs 3f\n"
            "movs r2, #0\n"
            "vmov s18, r2\n"
            "vmov s19, r2\n"
            "3:\n"
            "ldr r1, [r12, #8]\n"
            "vmov r2, s19\n"
            "vstmia r1!, {s18}\n"
            "ldr lr, [r12, #28]\n"
            "str r1, [r12, #8]\n"
            "vmov.i32 q0, #0\n"
            "subs r0, lr, #1\n"
            "bic r0, r0, #7\n"
            "add r0, r11, r0, lsl #1\n"
            "vstrw.32 q0, [r0]\n"
            "mov r0, r10\n"
            "mov r1, r11\n"
            "dlstp.32 lr, lr\n"
            "4:\n"
            "vldrw.32 q0, [r0], #16\n"
            "vmul.f32 q0, q0, r2\n"
            "vadd.f32 q0, q0, r5\n"
            "vstrh.32 q0, [r1], #8\n"
            "letp lr, 4b\n"
            "ldrd r0, r1, [r12, #12]\n"
            "ldr r2, [r12, #20]\n"
            "add r10, r10, r1\n"
            "add r11, r11, r2\n"
            "cmp r10, r0\n"
            "bne 0b\n"
            "vpop {d8-d15}\n"
            "pop {r4-r11, pc}\n");
}

typedef struct {
    const int8_t *values; /* 0 */
    const int16_t *b[2];  /* 4 */
    float *out[2];        /* 12 */
    uint32_t blocks;      /* 20: whole ones of 16 positions */
    uint32_t half;        /* 24: 1: eight positions follow */
    uint32_t tile_bytes;  /* 28 */
    float *out_end;       /* 32: of the first head */
    float factor[2];      /* 36 */
} pair_mix;

/* Eight positions of a row of values at `at`; q0 and q1, or q2 and q3, hold eight weights of each head. */
#define MIX_ROW(op, at, a, b, s, t)      \
    "vldrb.s16 q4, [r1, #" at "]\n"      \
    op ".s16 " s ", " a ", q4\n"         \
    op ".s16 " t ", " b ", q4\n"
#define MIX_HALF(op, o0, o1, o2, o3, a, b)                                                                    \
    MIX_ROW(op, o0, a, b, "r0", "r8") MIX_ROW(op, o1, a, b, "r2", "r10") MIX_ROW(op, o2, a, b, "r4", "r12")   \
    MIX_ROW(op, o3, a, b, "r6", "lr")
#define MIX_BLOCK(op)                                          \
    "vldrh.16 q0, [r3], #16\n"                                 \
    "vldrh.16 q1, [r5], #16\n"                                 \
    "vldrh.16 q2, [r3], #16\n"                                 \
    "vldrh.16 q3, [r5], #16\n"                                 \
    MIX_HALF(op, "0", "16", "32", "48", "q0", "q1")            \
    MIX_HALF("vmladava", "8", "24", "40", "56", "q2", "q3")    \
    "adds r1, r1, #64\n"

#define LAST_HALF(op)                                          \
    "vldrh.16 q0, [r3]\n"                                      \
    "vldrh.16 q1, [r5]\n" MIX_HALF(op, "0", "16", "32", "48", "q0", "q1")

/* out = f32(sums of b v) * factor, four dimensions at a time. r7: blocks, r9: the pair_mix; r11: values of the tile; q5, q6: factors */
static MMOE_NAKED void mix(MMOE_UNUSED pair_mix *p) {
    __asm__("push {r4-r11, lr}\n"
            "vpush {d8-d13}\n"
            "mov r9, r0\n"
            "ldrd r2, r3, [r0, #36]\n"
            "ldr r11, [r0]\n"
            "vdup.32 q5, r2\n"
            "vdup.32 q6, r3\n"
            "0:\n"
            "ldrd r3, r5, [r9, #4]\n"
            "ldr r7, [r9, #20]\n"
            "mov r1, r11\n"
            "cmp r7, #0\n"
            "beq 5f\n" MIX_BLOCK("vmladav")
            "subs r7, r7, #1\n"
            "beq 2f\n"
            "1:\n" MIX_BLOCK("vmladava")
            "subs r7, r7, #1\n"
            "bne 1b\n"
            "2:\n"
            "ldr r7, [r9, #24]\n"
            "cbz r7, 4f\n"
            LAST_HALF("vmladava")
            "4:\n"
            "vmov q0[2], q0[0], r0, r4\n"
            "vmov q0[3], q0[1], r2, r6\n"
            "ldrd r3, r5, [r9, #12]\n"
            "vmov q1[2], q1[0], r8, r12\n"
            "vcvt.f32.s32 q0, q0\n"
            "vmov q1[3], q1[1], r10, lr\n"
            "vmul.f32 q0, q0, q5\n"
            "vcvt.f32.s32 q1, q1\n"
            "ldrd r4, r6, [r9, #28]\n"
            "vmul.f32 q1, q1, q6\n"
            "vstrw.32 q0, [r3], #16\n"
            "vstrw.32 q1, [r5], #16\n"
            "strd r3, r5, [r9, #12]\n"
            "add r11, r11, r4\n"
            "cmp r3, r6\n"
            "bne 0b\n"
            "vpop {d8-d13}\n"
            "pop {r4-r11, pc}\n"
            "5:\n" LAST_HALF("vmladav")
            "b 4b\n");
}

/* Scales are such that nothing is flushed: key scales are 0 or at least 2^-71. */
static inline int is_safe(float factor) { return factor >= 0x1.0p-55f || factor == 0.0f; }

/* Heads 0..count - 1, an even number of them */
static void attend_pairs(const mmoe_heads *a, uint32_t count) {
    const uint32_t dim = a->head_dim, n = a->positions, row = MMOE_SCORES(a->context, dim), b_row = MMOE_PAD(a->context, 16u);
    const uint32_t query_bytes = MMOE_QUERY_BYTES(dim), blocks = MMOE_PAD(dim, 16u) / 16, tiles = (dim + 3) / 4;
    float factors[MMOE_AT_ONCE], *z = &a->z[0].f;
    const int8_t *query = a->queries;
    for (uint32_t h = 0; h < count; h += 2, query += 2 * query_bytes, z += 2 * row) {
        const pair_scores p = {a->keys, a->key_scales, {query, query + query_bytes}, {z, z + row}, z + n,
                               {a->factors[h], a->factors[h + 1]}, blocks};
        if (blocks == 2)
            score_two_blocks(&p);
        else
            score_blocks(&p);
    }
    weigh(&(weighing){&a->z[0].f, a->b, factors, z, 4 * row, 2 * b_row, a->value_scales, n, mmoe_weight_limit(n)});
    float *out = a->out;
    const int16_t *b = a->b;
    z = &a->z[0].f;
    for (uint32_t h = 0; h < count; h += 2, out += 2 * dim, b += 2 * b_row) {
        float *to = dim % 4 ? z : out, *const other = dim % 4 ? z + row : out + dim; /* z is used up */
        mix(&(pair_mix){a->values, {b, b + b_row}, {to, other}, (n + 7) / 16, (n + 7) / 8 % 2, 4 * b_row, to + 4 * tiles,
                        {factors[h], factors[h + 1]}});
        for (uint32_t i = 0; i < 2 && dim % 4; i++) memcpy(out + i * dim, z + i * row, dim * sizeof *out);
    }
}

void mmoe_attend_s8(const mmoe_heads *heads) {
    uint32_t h = 0;
    while (h + 2 <= heads->count && is_safe(heads->factors[h]) && is_safe(heads->factors[h + 1])) h += 2;
    if (h) attend_pairs(heads, h);
    if (h == heads->count) return;
    mmoe_heads rest = *heads;
    rest.count -= h;
    rest.queries += h * MMOE_QUERY_BYTES(rest.head_dim);
    rest.out += h * rest.head_dim;
    for (uint32_t i = 0; i < rest.count; i++) rest.factors[i] = heads->factors[h + i];
    attend_in_turn(&rest);
}

#else
void mmoe_attend_s8(const mmoe_heads *heads) { attend_in_turn(heads); }
#endif
