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

/* z = e * value_scale, e = exp(z - max z); out[0..3] the lanes of the sum of e; returns the bits of the largest z. n >= 1 */
static MMOE_NAKED uint32_t weigh(MMOE_UNUSED float *z, MMOE_UNUSED const float *value_scale, MMOE_UNUSED uint32_t n,
                                 MMOE_UNUSED float out[4]) {
    __asm__("push {r3-r9, lr}\n"
            "vpush {d8-d15}\n"
            "mov r12, r2\n" MMOE_EXP_CONSTANTS
            "movw r2, #0\n"
            "movt r2, #0xFF80\n" /* minus infinity */
            "vdup.32 q4, r2\n"
            "vmov s0, r0\n"
            "dlstp.32 lr, r12\n"
            "1:\n"
            "vldrw.32 q1, [r0], #16\n"
            "vmaxnm.f32 q4, q4, q1\n"
            "letp lr, 1b\n"
            "vmov r0, s0\n"
            "vmaxnmv.f32 r2, q4\n"
            "vmov.i32 q4, #0\n"
            "vmov.i32 q5, #0\n"
            "dlstp.32 lr, r12\n"
            "2:\n" MMOE_WEIGH_FOUR
            "letp lr, 2b\n"
            "ldr r3, [sp, #64]\n"
            "movs r0, #0\n"
            "vmaxnmv.f32 r0, q5\n"
            "vstrw.32 q4, [r3]\n"
            "vpop {d8-d15}\n"
            "pop {r3-r9, pc}\n");
}

/* b = z * inverse, rounded, and zero up to eight */
static inline void round_weights(const float *z, uint32_t n, float inverse, int16_t *b) {
    uint32_t inverse_bits = mmoe_bits(inverse), magic = 0x4B400000u;
    int16_t *last = b + (n & ~7u);
    if (n % 8) __asm__ volatile("vmov.i32 q0, #0\nvstrw.32 q0, [%[last]]\n" : : [last] "l"(last) : "q0", "memory");
    __asm__ volatile("wls lr, %[eights], 2f\n"
                     "1:\n"
                     "vldrw.32 q0, [%[z]], #16\n"
                     "vmul.f32 q0, q0, %[inverse]\n"
                     "vldrw.32 q1, [%[z]], #16\n"
                     "vadd.f32 q0, q0, %[magic]\n"
                     "vmul.f32 q1, q1, %[inverse]\n"
                     "vstrh.32 q0, [%[b]], #8\n"
                     "vadd.f32 q1, q1, %[magic]\n"
                     "vstrh.32 q1, [%[b]], #8\n"
                     "le lr, 1b\n"
                     "2:\n"
                     "wlstp.32 lr, %[rest], 4f\n"
                     "3:\n"
                     "vldrw.32 q0, [%[z]], #16\n"
                     "vmul.f32 q0, q0, %[inverse]\n"
                     "vadd.f32 q0, q0, %[magic]\n"
                     "vstrh.32 q0, [%[b]], #8\n"
                     "letp lr, 3b\n"
                     "4:\n"
                     : [z] "+l"(z), [b] "+l"(b)
                     : [eights] "r"(n / 8), [rest] "r"(n % 8), [inverse] "r"(inverse_bits), [magic] "r"(magic)
                     : "q0", "q1", "lr", "cc", "memory");
}

typedef struct {
    const int8_t *values; /* 0 */
    const int16_t *b[2];  /* 4 */
    float *out[2];        /* 12 */
    uint32_t blocks;      /* 20: whole ones of 16 positions */
    uint32_t half;        /* 24: bytes from the tile's values to those behind a last half; 0: there is none */
    uint32_t tile_bytes;  /* 28 */
    float factor[2];      /* 32 */
    uint32_t tiles;       /* 40 */
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

/* out = f32(sums of b v) * factor, four dimensions at a time. r7: blocks, r9: the pair_mix; r11: values of the tile */
static MMOE_NAKED void mix(MMOE_UNUSED pair_mix *p) {
    __asm__("push {r4-r11, lr}\n"
            "vpush {d8-d9}\n"
            "mov r9, r0\n"
            "ldr r11, [r0]\n"
            "0:\n"
            "ldrd r3, r5, [r9, #4]\n"
            "ldrd r7, r0, [r9, #20]\n"
            "cbz r0, 1f\n"
            "add r1, r11, r0\n" /* the last half first */
            "subs r1, r1, #64\n"
            "add r3, r3, r7, lsl #5\n"
            "add r5, r5, r7, lsl #5\n"
            "vldrh.16 q0, [r3]\n"
            "vldrh.16 q1, [r5]\n" MIX_HALF("vmladav", "0", "16", "32", "48", "q0", "q1")
            "sub r3, r3, r7, lsl #5\n"
            "sub r5, r5, r7, lsl #5\n"
            "mov r1, r11\n"
            "cmp r7, #0\n"
            "bne 3f\n"
            "b 4f\n"
            "1:\n"
            "mov r1, r11\n" MIX_BLOCK("vmladav")
            "subs r7, r7, #1\n"
            "beq 4f\n"
            "3:\n" MIX_BLOCK("vmladava")
            "subs r7, r7, #1\n"
            "bne 3b\n"
            "4:\n"
            "vmov q0[2], q0[0], r0, r4\n"
            "vmov q0[3], q0[1], r2, r6\n"
            "ldrd r3, r5, [r9, #12]\n"
            "vmov q1[2], q1[0], r8, r12\n"
            "vcvt.f32.s32 q0, q0\n"
            "ldrd r0, r2, [r9, #32]\n"
            "vmov q1[3], q1[1], r10, lr\n"
            "vmul.f32 q0, q0, r0\n"
            "vcvt.f32.s32 q1, q1\n"
            "ldrd r4, r6, [r9, #28]\n"
            "vmul.f32 q1, q1, r2\n"
            "vstrw.32 q0, [r3], #16\n"
            "vstrw.32 q1, [r5], #16\n"
            "strd r3, r5, [r9, #12]\n"
            "ldr r6, [r9, #40]\n"
            "add r11, r11, r4\n"
            "subs r6, r6, #1\n"
            "str r6, [r9, #40]\n"
            "bne 0b\n"
            "vpop {d8-d9}\n"
            "pop {r4-r11, pc}\n");
}

/* Scales are such that nothing is flushed: key scales are 0 or at least 2^-71. */
static inline int is_safe(float factor) { return factor >= 0x1.0p-55f || factor == 0.0f; }

static void attend_pair(const mmoe_heads *a, uint32_t first) {
    const uint32_t dim = a->head_dim, n = a->positions, row = MMOE_SCORES(a->context, dim), b_row = MMOE_PAD(a->context, 16u);
    const uint32_t query_bytes = MMOE_QUERY_BYTES(dim), blocks = MMOE_PAD(dim, 16u) / 16;
    float *const z[2] = {&a->z[0].f, &a->z[row].f}, *const out = a->out + first * dim;
    const int8_t *queries = a->queries + first * query_bytes;
    const pair_scores p = {a->keys, a->key_scales, {queries, queries + query_bytes}, {z[0], z[1]}, z[0] + n,
                           {a->factors[first], a->factors[first + 1]}, blocks};
    pair_mix m = {a->values, {a->b, a->b + b_row}, {dim % 4 ? z[0] : out, dim % 4 ? z[1] : out + dim}, (n + 7) / 16,
                  (n + 7) % 16 < 8 ? 0 : 64 * (n / 16 + 1), 4 * b_row, {0.0f, 0.0f}, (dim + 3) / 4};
    if (blocks == 2)
        score_two_blocks(&p);
    else
        score_blocks(&p);
    for (uint32_t h = 0; h < 2; h++) {
        float lanes[4];
        const float most = mmoe_float(weigh(z[h], a->value_scales, n, lanes)), k = mmoe_weight_limit(n);
        int16_t *b = a->b + h * b_row;
        if (most < MMOE_TINY) {
            memset(b, 0, MMOE_PAD(n, 16u) * sizeof *b);
        } else {
            round_weights(z[h], n, k / most, b);
            m.factor[h] = (most / k) / ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3]));
        }
    }
    mix(&m);
    for (uint32_t h = 0; h < 2 && dim % 4; h++) memcpy(out + h * dim, z[h], dim * sizeof(float));
}

void mmoe_attend_s8(const mmoe_heads *heads) {
    uint32_t h = 0;
    for (; h + 2 <= heads->count && is_safe(heads->factors[h]) && is_safe(heads->factors[h + 1]); h += 2) attend_pair(heads, h);
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
