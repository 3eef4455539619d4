/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_exp.h"

#define mmoe_attend_s8 attend_in_turn
static void attend_in_turn(const mmoe_heads *a);
#include "../reference/mmoe_attend_s8.c"
#undef mmoe_attend_s8

#if __ARM_FEATURE_MVE & 2

/* Two heads go together: a load of keys or values serves both. Scores of all heads come first, then their softmaxes, then their
 * sums of values. */
typedef struct {
    const int8_t *keys;        /* 0 */
    const float *key_scales;   /* 4 */
    const int8_t *queries;     /* 8 */
    uint32_t query_bytes;      /* 12: from one head to the next, as all that follow */
    float *z;                  /* 16: scores */
    uint32_t z_bytes;          /* 20 */
    const float *z_end;        /* 24: behind the last head */
    uint32_t positions;        /* 28: at least 1 */
    const float *factors;      /* 32: of scores */
    uint32_t blocks;           /* 36: of 16 columns */
    int16_t *b;                /* 40: weights */
    uint32_t b_bytes;          /* 44 */
    const float *value_scales; /* 48 */
    float limit;               /* 52: mmoe_weight_limit */
    float *out;                /* 56 */
    uint32_t out_bytes;        /* 60 */
    const int8_t *values;      /* 64 */
    uint32_t mixed;            /* 68: blocks of 16 positions, at least 1 */
    uint32_t tiles_bytes;      /* 72: of all results of a head, in fours */
    const int16_t *b_end;      /* 76: behind the last head */
    float mix_factors[4];      /* 80: what sums of values are multiplied with */
} attending;

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

/* What comes before the scores of two heads, and after them. r0: the attending, r2: queries, r3: z, r4: factors. On the stack, from
 * 0: the next two of these last three, the end of z, the attending */
#define NEXT_PAIR                              \
    "ldrd r9, r11, [r4], #8\n"                 \
    "ldrd r5, r8, [r0, #20]\n"                 \
    "ldr r6, [r0, #28]\n"                      \
    "add r8, r3, r5, lsl #1\n"                 \
    "strd r4, r8, [sp, #4]\n"                  \
    "add r6, r3, r6, lsl #2\n"                 \
    "add r5, r5, r3\n"                         \
    "strd r6, r0, [sp, #12]\n"                 \
    "ldrd r1, r7, [r0]\n"
#define SCORE(load, blocks)                    \
    "push {r4-r11, lr}\n"                      \
    "vpush {d8-d15}\n"                         \
    "sub sp, sp, #24\n"                        \
    "ldr r2, [r0, #8]\n"                       \
    "ldr r3, [r0, #16]\n"                      \
    "ldr r4, [r0, #32]\n"                      \
    "0:\n" NEXT_PAIR load                      \
    "1:\n" blocks SCALE_SCORES                 \
    "ldr r0, [sp, #12]\n"                      \
    "cmp r3, r0\n"                             \
    "blo 1b\n"                                 \
    "ldr r0, [sp, #16]\n"                      \
    "ldrd r2, r4, [sp]\n"                      \
    "ldr r3, [sp, #8]\n"                       \
    "ldr r1, [r0, #24]\n"                      \
    "cmp r3, r1\n"                             \
    "bne 0b\n"                                 \
    "add sp, sp, #24\n"                        \
    "vpop {d8-d15}\n"                          \
    "pop {r4-r11, pc}\n"

static MMOE_NAKED void score_two_blocks(MMOE_UNUSED const attending *a) {
    __asm__(SCORE("ldr r6, [r0, #12]\n"
                  "vldrb.8 q0, [r2]\n"
                  "vldrb.8 q1, [r2, #16]\n"
                  "add r2, r2, r6\n"
                  "vldrb.8 q2, [r2]\n"
                  "vldrb.8 q3, [r2, #16]\n"
                  "add r2, r2, r6\n"
                  "str r2, [sp]\n",
                  HELD_BLOCK("vmladav", "q0", "q2") HELD_BLOCK("vmladava", "q1", "q3")));
}

/* r7, r9, r11 and r3, r5 wait at 20 to 36 while blocks are multiplied. */
static MMOE_NAKED void score_blocks(MMOE_UNUSED const attending *a) {
    __asm__("push {r4-r11, lr}\n"
            "vpush {d8-d15}\n"
            "sub sp, sp, #56\n"
            "ldr r2, [r0, #8]\n"
            "ldr r3, [r0, #16]\n"
            "ldr r4, [r0, #32]\n"
            "0:\n" NEXT_PAIR
            "strd r9, r11, [sp, #24]\n"
            "ldr r6, [r0, #12]\n"
            "ldr r8, [r0, #36]\n"
            "add r4, r2, r6\n"
            "strd r2, r4, [sp, #40]\n"
            "add r4, r4, r6\n"
            "str r4, [sp]\n"
            "str r8, [sp, #48]\n"
            "1:\n"
            "strd r3, r5, [sp, #32]\n"
            "str r7, [sp, #20]\n"
            "ldrd r3, r5, [sp, #40]\n"
            "ldr r7, [sp, #48]\n"
            "vldrb.8 q0, [r3], #16\n"
            "vldrb.8 q1, [r5], #16\n" KEY_BLOCK("vmladav")
            "b 3f\n"
            "2:\n"
            "vldrb.8 q0, [r3], #16\n"
            "vldrb.8 q1, [r5], #16\n" KEY_BLOCK("vmladava")
            "3:\n"
            "subs r7, r7, #1\n"
            "bne 2b\n"
            "ldrd r9, r11, [sp, #24]\n"
            "ldrd r3, r5, [sp, #32]\n"
            "ldr r7, [sp, #20]\n" SCALE_SCORES
            "ldr r0, [sp, #12]\n"
            "cmp r3, r0\n"
            "blo 1b\n"
            "ldr r0, [sp, #16]\n"
            "ldrd r2, r4, [sp]\n"
            "ldr r3, [sp, #8]\n"
            "ldr r1, [r0, #24]\n"
            "cmp r3, r1\n"
            "bne 0b\n"
            "add sp, sp, #56\n"
            "vpop {d8-d15}\n"
            "pop {r4-r11, pc}\n");
}

/* The softmax of each head: its largest score; e = exp(z - largest), z = e * value_scale; b = z * (limit / max z), rounded, and
 * zero up to eight. r10: z, r11: b, r12: the attending, s28: minus infinity, s29: the limit */
static MMOE_NAKED void weigh(MMOE_UNUSED attending *a) {
    __asm__("push {r4-r11, lr}\n"
            "vpush {d8-d15}\n"
            "mov r12, r0\n" MMOE_EXP_CONSTANTS
            "movw r2, #0\n"
            "movt r2, #0xFF80\n"
            "vmov s28, r2\n"
            "vldr s29, [r12, #52]\n"
            "add r1, r12, #80\n"
            "ldr r10, [r12, #16]\n"
            "vmov s31, r1\n"
            "ldr r11, [r12, #40]\n"
            "0:\n"
            "mov r0, r10\n"
            "vmov r2, s28\n"
            "ldr lr, [r12, #28]\n"
            "dlstp.32 lr, lr\n"
            "1:\n"
            "vldrw.32 q1, [r0], #16\n"
            "vmaxnmv.f32 r2, q1\n"
            "letp lr, 1b\n"
            "mov r0, r10\n"
            "vmov.i32 q4, #0\n"
            "ldr r1, [r12, #48]\n"
            "vmov.i32 q5, #0\n"
            "ldr lr, [r12, #28]\n"
            "dlstp.32 lr, lr\n"
            "2:\n" MMOE_WEIGH_FOUR
            "letp lr, 2b\n"
            "vadd.f32 s16, s16, s17\n"
            "movs r1, #0\n"
            "vadd.f32 s18, s18, s19\n"
            "vmaxnmv.f32 r1, q5\n"
            "vmov s20, r1\n"
            "vadd.f32 s16, s16, s18\n"
            "vdiv.f32 s19, s29, s20\n"
            "vdiv.f32 s18, s20, s29\n"
            "vdiv.f32 s18, s18, s16\n"
            "cmp r1, #0x1F800000\n" /* MMOE_TINY */
            "bhs 3f\n"
            "movs r2, #0\n"
            "vmov s18, r2\n"
            "vmov s19, r2\n"
            "3:\n"
            "vmov r1, s31\n"
            "vmov r2, s19\n"
            "ldr lr, [r12, #28]\n"
            "vstmia r1!, {s18}\n"
            "vmov.i32 q0, #0\n"
            "vmov s31, r1\n"
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
            "ldrd r0, r1, [r12, #20]\n"
            "ldr r2, [r12, #44]\n"
            "add r10, r10, r0\n"
            "add r11, r11, r2\n"
            "cmp r10, r1\n"
            "bne 0b\n"
            "vpop {d8-d15}\n"
            "pop {r4-r11, pc}\n");
}

/* Eight positions of a row of values; q0 and q1, or q2 and q3, hold eight weights of each head. */
#define MIX_ROW(op, on, a, b, s, t)      \
    "vldrb.s16 q4, [r1], #" on "\n"      \
    op ".s16 " s ", " a ", q4\n"         \
    op ".s16 " t ", " b ", q4\n"
#define MIX_HALF(op, on, a, b)                                                                                      \
    MIX_ROW(op, "16", a, b, "r0", "r8") MIX_ROW(op, "16", a, b, "r2", "r10") MIX_ROW(op, "16", a, b, "r4", "r12")   \
    MIX_ROW(op, on, a, b, "r6", "lr")
#define MIX_BLOCK(op)                                          \
    "vldrh.16 q0, [r3], #16\n"                                 \
    "vldrh.16 q1, [r5], #16\n"                                 \
    "vldrh.16 q2, [r3], #16\n"                                 \
    "vldrh.16 q3, [r5], #16\n"                                 \
    MIX_HALF(op, "-40", "q0", "q1")                            \
    MIX_HALF("vmladava", "8", "q2", "q3")
#define LAST_HALF                                              \
    "vldrh.16 q0, [r3]\n"                                      \
    "vldrh.16 q1, [r5]\n" MIX_HALF("vmladava", "16", "q0", "q1")

/* out = f32(sums of b v) * factor, four dimensions at a time, then of the next two heads. r9: out, r11: values of the tile, q5, q6:
 * factors. On the stack, from 0: b of both heads, blocks, bytes from out to that of the second head, where out ends, bytes of a
 * tile, the attending, the next two factors */
#define MIX(half)                              \
    "push {r4-r11, lr}\n"                      \
    "vpush {d8-d13}\n"                         \
    "sub sp, sp, #32\n"                        \
    "add r4, r0, #80\n"                        \
    "ldrd r3, r5, [r0, #40]\n"                 \
    "ldrd r9, r2, [r0, #56]\n"                 \
    "ldr r7, [r0, #68]\n"                      \
    "lsls r6, r5, #1\n"                        \
    "strd r7, r2, [sp, #8]\n"                  \
    "strd r6, r0, [sp, #20]\n"                 \
    "1:\n"                                     \
    "ldrd r1, r2, [r4], #8\n"                  \
    "ldr r7, [r0, #72]\n"                      \
    "vdup.32 q5, r1\n"                         \
    "add r5, r5, r3\n"                         \
    "vdup.32 q6, r2\n"                         \
    "add r7, r7, r9\n"                         \
    "strd r3, r5, [sp]\n"                      \
    "str r7, [sp, #16]\n"                      \
    "str r4, [sp, #28]\n"                      \
    "ldr r11, [r0, #64]\n"                     \
    "2:\n"                                     \
    "ldrd r3, r5, [sp]\n"                      \
    "ldr r7, [sp, #8]\n"                       \
    "mov r1, r11\n" MIX_BLOCK("vmladav")       \
    "subs r7, r7, #1\n"                        \
    "beq 4f\n"                                 \
    "3:\n" MIX_BLOCK("vmladava")               \
    "subs r7, r7, #1\n"                        \
    "bne 3b\n"                                 \
    "4:\n" half                                \
    "vmov q0[2], q0[0], r0, r4\n"              \
    "ldrd r3, r5, [sp, #12]\n"                 \
    "vmov q0[3], q0[1], r2, r6\n"              \
    "vmov q1[2], q1[0], r8, r12\n"             \
    "vcvt.f32.s32 q0, q0\n"                    \
    "vmov q1[3], q1[1], r10, lr\n"             \
    "vmul.f32 q0, q0, q5\n"                    \
    "vcvt.f32.s32 q1, q1\n"                    \
    "add r3, r3, r9\n"                         \
    "vmul.f32 q1, q1, q6\n"                    \
    "vstrw.32 q0, [r9], #16\n"                 \
    "ldr r7, [sp, #20]\n"                      \
    "vstrw.32 q1, [r3]\n"                      \
    "add r11, r11, r7\n"                       \
    "cmp r9, r5\n"                             \
    "bne 2b\n"                                 \
    "ldr r4, [sp, #12]\n"                      \
    "ldrd r0, r2, [sp, #24]\n"                 \
    "ldr r3, [sp]\n"                           \
    "add r9, r9, r4, lsl #1\n"                 \
    "ldrd r6, r1, [r0, #72]\n"                 \
    "mov r4, r2\n"                             \
    "ldr r5, [r0, #44]\n"                      \
    "sub r9, r9, r6\n"                         \
    "add r3, r3, r7\n"                         \
    "cmp r3, r1\n"                             \
    "bne 1b\n"                                 \
    "add sp, sp, #32\n"                        \
    "vpop {d8-d13}\n"                          \
    "pop {r4-r11, pc}\n"

static MMOE_NAKED void mix(MMOE_UNUSED const attending *a) { __asm__(MIX("")); }
/* Eight positions more */
static MMOE_NAKED void mix_and_half(MMOE_UNUSED const attending *a) { __asm__(MIX(LAST_HALF)); }

/* Scales are such that nothing is flushed: key scales are 0 or at least 2^-71. */
static inline int is_safe(float factor) { return factor >= 0x1.0p-55f || factor == 0.0f; }

/* Heads 0..count - 1, an even number of them */
static void attend_pairs(const mmoe_heads *h, uint32_t count) {
    const uint32_t dim = h->head_dim, n = h->positions, b_row = MMOE_PAD(h->context, 16u);
    attending a;
    a.keys = h->keys, a.key_scales = h->key_scales;
    a.queries = h->queries, a.query_bytes = MMOE_QUERY_BYTES(dim);
    a.z = &h->z[0].f, a.z_bytes = 4 * MMOE_SCORES(h->context, dim);
    a.z_end = &h->z[0].f + count * (a.z_bytes / 4);
    a.positions = n, a.limit = mmoe_weight_limit(n);
    a.factors = h->factors, a.blocks = a.query_bytes / 32;
    a.b = h->b, a.b_bytes = 2 * b_row, a.b_end = h->b + count * b_row;
    a.value_scales = h->value_scales, a.values = h->values;
    a.tiles_bytes = MMOE_PAD(4 * dim, 16u);
    a.out = dim % 4 ? a.z : h->out, a.out_bytes = dim % 4 ? a.z_bytes : 4 * dim; /* z is used up */
    a.mixed = (n + 7) / 16;
    if (a.blocks == 2)
        score_two_blocks(&a);
    else
        score_blocks(&a);
    weigh(&a);
    if (a.mixed == 0) { /* a whole block all the same */
        a.mixed = 1;
        for (uint32_t i = 0; i < count; i++) memset(h->b + i * b_row + 8, 0, 16);
        mix(&a);
    } else if ((n + 7) / 8 % 2) {
        mix_and_half(&a);
    } else {
        mix(&a);
    }
    for (uint32_t i = 0; i < count && dim % 4; i++) memcpy(h->out + i * dim, a.z + i * (a.z_bytes / 4), dim * sizeof *h->out);
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
