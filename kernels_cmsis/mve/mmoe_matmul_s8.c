/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_mve.h"

#if __ARM_FEATURE_MVE & 2
/* Four rows times two vectors: one load of weights serves both, one of inputs four rows. r0, r2, r4, r6 are the sums of the
 * first vector, r8, r10, r12, lr those of the second. */
#define ROW(op, s, t)              \
    "vldrb.8 q2, [r1], #16\n"      \
    op ".s8 " s ", q0, q2\n"       \
    op ".s8 " t ", q1, q2\n"
#define BLOCK(op)                  \
    "vldrb.8 q0, [r3], #16\n"      \
    "vldrb.8 q1, [r5], #16\n" ROW(op, "r0", "r8") ROW(op, "r2", "r10") ROW(op, "r4", "r12") ROW(op, "r6", "lr")
#define NEXT BLOCK("vmladava")

typedef struct {
    const mmoe_vector *const *x;     /* 0: of the next pair */
    float *const *y;                 /* 4 */
    const mmoe_vector *const *x_end; /* 8 */
    uint32_t y_bytes;                /* 12: of whole tiles */
    const int8_t *weights;           /* 16 */
    const float *row_scales;         /* 20 */
    uint32_t quads;                  /* 24: blocks of 16 columns behind the first one: quads * 4 + rest */
    uint32_t rest;                   /* 28 */
} mmoe_pairs;

/* The next two vectors: r2, r3 their inputs, r4, r6 their scales, r7, r9 their results, r1 weights, r5 row scales. r0: the pairs,
 * which the stack holds at 12; at 8 it holds the end of the first result. */
#define NEXT_PAIR                        \
    "ldrd r4, r6, [r0]\n"                \
    "ldrd r2, r3, [r4], #8\n"            \
    "ldrd r7, r9, [r6], #8\n"            \
    "strd r4, r6, [r0]\n"                \
    "ldr r1, [r0, #12]\n"                \
    "ldr r4, [r2], #16\n"                \
    "add r1, r1, r7\n"                   \
    "ldr r6, [r3], #16\n"                \
    "strd r1, r0, [sp, #8]\n"            \
    "ldrd r1, r5, [r0, #16]\n"
#define IS_ANOTHER                       \
    "ldr r0, [sp, #12]\n"                \
    "ldr r4, [r0]\n"                     \
    "ldr r2, [r0, #8]\n"                 \
    "cmp r4, r2\n"

/* On the stack also, at 4: from the first result to the second, 16: inputs, 24: quads, rest. r9 row scales, r11 results, q6, q7
 * scales */
static MMOE_NAKED void multiply(MMOE_UNUSED mmoe_pairs *pairs) {
    __asm__("push {r4-r11, lr}\n"
            "vpush {d12-d15}\n"
            "sub sp, sp, #32\n"
            "ldrd r2, r3, [r0, #24]\n"
            "strd r2, r3, [sp, #24]\n"
            "0:\n" NEXT_PAIR
            "strd r2, r3, [sp, #16]\n"
            "vdup.32 q6, r4\n"
            "sub r9, r9, r7\n"
            "vdup.32 q7, r6\n"
            "str r9, [sp, #4]\n"
            "mov r9, r5\n"
            "mov r11, r7\n"
            "1:\n"
            "ldrd r3, r5, [sp, #16]\n"
            "ldr r7, [sp, #24]\n" BLOCK("vmladav")
            "cmp r7, #0\n"
            "beq 3f\n"
            "2:\n" NEXT NEXT NEXT NEXT
            "subs r7, r7, #1\n"
            "bne 2b\n"
            "3:\n"
            "ldr r7, [sp, #28]\n"
            "cbz r7, 5f\n"
            "4:\n" NEXT
            "subs r7, r7, #1\n"
            "bne 4b\n"
            "5:\n"
            "vmov q0[2], q0[0], r0, r4\n"
            "vldrw.32 q2, [r9], #16\n"
            "vmov q0[3], q0[1], r2, r6\n"
            "ldrd r3, r5, [sp, #4]\n"
            "vmov q1[2], q1[0], r8, r12\n"
            "vcvt.f32.s32 q0, q0\n"
            "vmul.f32 q3, q2, q6\n"
            "vmov q1[3], q1[1], r10, lr\n"
            "vmul.f32 q2, q2, q7\n"
            "vcvt.f32.s32 q1, q1\n"
            "vmul.f32 q0, q0, q3\n"
            "add r3, r3, r11\n"
            "vmul.f32 q1, q1, q2\n"
            "vstrw.32 q0, [r11], #16\n"
            "vstrw.32 q1, [r3]\n"
            "cmp r11, r5\n"
            "bne 1b\n" IS_ANOTHER
            "bne 0b\n"
            "add sp, sp, #32\n"
            "vpop {d12-d15}\n"
            "pop {r4-r11, pc}\n");
}

/* Narrow matrices: of 32 columns both inputs stay in q4..q7, of 64 the first one, of 128 the first half of that one. r1 weights,
 * r3 the second input, r5 row scales, r7 and r9 results, r11 their end, of 128 columns the first input. On the stack, from 0:
 * scales */
#define NARROW_ROW(op, s, t, a, b)     \
    "vldrb.8 q1, [r1], #16\n"          \
    op ".s8 " s ", " a ", q1\n"        \
    op ".s8 " t ", " b ", q1\n"
#define NARROW_BLOCK(op, a, b)                                                                          \
    NARROW_ROW(op, "r0", "r8", a, b) NARROW_ROW(op, "r2", "r10", a, b) NARROW_ROW(op, "r4", "r12", a, b) \
    NARROW_ROW(op, "r6", "lr", a, b)
#define NARROW_TILES(load, blocks, end)        \
    "push {r4-r11, lr}\n"                      \
    "vpush {d8-d15}\n"                         \
    "sub sp, sp, #16\n"                        \
    "0:\n" NEXT_PAIR                           \
    "strd r4, r6, [sp]\n" load                 \
    "1:\n" blocks                              \
    "vmov q0[2], q0[0], r0, r4\n"              \
    "vldrw.32 q2, [r5], #16\n"                 \
    "vmov q0[3], q0[1], r2, r6\n"              \
    "vmov q1[2], q1[0], r8, r12\n"             \
    "ldrd r0, r2, [sp]\n"                      \
    "vcvt.f32.s32 q0, q0\n"                    \
    "vmul.f32 q3, q2, r0\n"                    \
    "vmov q1[3], q1[1], r10, lr\n"             \
    "vmul.f32 q2, q2, r2\n"                    \
    "vcvt.f32.s32 q1, q1\n"                    \
    "vmul.f32 q0, q0, q3\n"                    \
    "vmul.f32 q1, q1, q2\n"                    \
    "vstrw.32 q0, [r7], #16\n"                 \
    "vstrw.32 q1, [r9], #16\n" end             \
    "bne 1b\n" IS_ANOTHER                      \
    "bne 0b\n"                                 \
    "add sp, sp, #16\n"                        \
    "vpop {d8-d15}\n"                          \
    "pop {r4-r11, pc}\n"
#define HOLD_END "ldr r11, [sp, #8]\n"
#define HELD_END "cmp r7, r11\n"
#define LOADED_END           \
    "ldr r4, [sp, #8]\n"     \
    "cmp r7, r4\n"

static MMOE_NAKED void multiply_32(MMOE_UNUSED mmoe_pairs *pairs) {
    __asm__(NARROW_TILES("vldrb.8 q4, [r2]\n"
                         "vldrb.8 q5, [r2, #16]\n"
                         "vldrb.8 q6, [r3]\n"
                         "vldrb.8 q7, [r3, #16]\n" HOLD_END,
                         NARROW_BLOCK("vmladav", "q4", "q6") NARROW_BLOCK("vmladava", "q5", "q7"), HELD_END));
}
/* 64 columns of the first input, held, and of the second one */
#define HOLD_64 \
    "vldrb.8 q4, [r2]\n" "vldrb.8 q5, [r2, #16]\n" "vldrb.8 q6, [r2, #32]\n" "vldrb.8 q7, [r2, #48]\n"
#define BLOCKS_64                                              \
    "vldrb.8 q0, [r3]\n" NARROW_BLOCK("vmladav", "q4", "q0")       \
    "vldrb.8 q0, [r3, #16]\n" NARROW_BLOCK("vmladava", "q5", "q0") \
    "vldrb.8 q0, [r3, #32]\n" NARROW_BLOCK("vmladava", "q6", "q0") \
    "vldrb.8 q0, [r3, #48]\n" NARROW_BLOCK("vmladava", "q7", "q0")
static MMOE_NAKED void multiply_64(MMOE_UNUSED mmoe_pairs *pairs) {
    __asm__(NARROW_TILES(HOLD_64 HOLD_END, BLOCKS_64, HELD_END));
}
#define BLOCK_128(at) \
    "vldrb.8 q0, [r3, #" at "]\n" "vldrb.8 q2, [r11, #" at "]\n" NARROW_BLOCK("vmladava", "q2", "q0")
static MMOE_NAKED void multiply_128(MMOE_UNUSED mmoe_pairs *pairs) {
    __asm__(NARROW_TILES(HOLD_64 "mov r11, r2\n", BLOCKS_64 BLOCK_128("64") BLOCK_128("80") BLOCK_128("96") BLOCK_128("112"), LOADED_END));
}
#endif

void mmoe_matmul_s8(const mmoe_matrix *w, const mmoe_vector *const *x, float *const *y, uint32_t count, void *scratch) {
    uint32_t i = 0;
    (void)scratch;
#if __ARM_FEATURE_MVE & 2
    const uint32_t blocks = MMOE_PAD(w->columns, 16u) / 16, whole = w->rows & ~3u;
    while (whole && i + 2 <= count && mmoe_scale_is_safe(x[i]->scale) && mmoe_scale_is_safe(x[i + 1]->scale)) i += 2;
    if (i) {
        mmoe_pairs pairs = {x, y, x + i, 4 * whole, w->weights, w->row_scales, (blocks - 1) / 4, (blocks - 1) % 4};
        if (blocks == 4)
            multiply_64(&pairs);
        else if (blocks == 8)
            multiply_128(&pairs);
        else if (blocks == 2)
            multiply_32(&pairs);
        else
            multiply(&pairs);
    }
    if (whole != w->rows && i) {
        const mmoe_matrix rest = {w->rows - whole, w->columns, 8, (const int8_t *)w->weights + whole * 16 * blocks, NULL,
                                  w->row_scales + whole};
        for (uint32_t k = 0; k < i; k++) mmoe_matvec_s8(&rest, x[k], y[k] + whole);
    }
#endif
    for (; i < count; i++) mmoe_matvec_s8(w, x[i], y[i]);
}
