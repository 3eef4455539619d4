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
    const int8_t *x[2]; /* 0 */
    uint32_t quads;     /* 8: blocks of 16 columns behind the first one: quads * 4 + rest */
    uint32_t rest;      /* 12 */
    uint32_t y_offset;  /* 16: bytes from the first result to the second */
    float *y_end;       /* 20: of the first one */
    const int8_t *weights;
    const float *row_scales;
    float *y;
    float scale[2]; /* 36, 40 */
} mmoe_pair;

static MMOE_NAKED void matmul_pair(MMOE_UNUSED const mmoe_pair *pair) {
    __asm__("push {r4-r11, lr}\n"
            "vpush {d12-d15}\n"
            "ldr r1, [r0, #24]\n"
            "ldrd r9, r11, [r0, #28]\n" /* row scales, y */
            "ldrd r2, r3, [r0, #36]\n"
            "vdup.32 q6, r2\n"
            "vdup.32 q7, r3\n"
            "ldmia r0, {r2-r7}\n"
            "push {r2-r7}\n"
            "0:\n"
            "ldrd r3, r5, [sp]\n"
            "ldr r7, [sp, #8]\n" BLOCK("vmladav")
            "cmp r7, #0\n"
            "beq 2f\n"
            "1:\n" NEXT NEXT NEXT NEXT
            "subs r7, r7, #1\n"
            "bne 1b\n"
            "2:\n"
            "ldr r7, [sp, #12]\n"
            "cbz r7, 4f\n"
            "3:\n" NEXT
            "subs r7, r7, #1\n"
            "bne 3b\n"
            "4:\n"
            "vmov q0[2], q0[0], r0, r4\n"
            "vldrw.32 q2, [r9], #16\n"
            "vmov q0[3], q0[1], r2, r6\n"
            "ldrd r3, r5, [sp, #16]\n"
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
            "bne 0b\n"
            "add sp, sp, #24\n"
            "vpop {d12-d15}\n"
            "pop {r4-r11, pc}\n");
}

/* Narrow matrices: of 32 columns both inputs stay in q4..q7, of 64 the first one, of 128 the first half of that one. r1 weights,
 * r3 the second input, r5 row scales, r7 and r9 results, r11 the first input. */
#define NARROW_ROW(op, s, t, a, b)     \
    "vldrb.8 q1, [r1], #16\n"          \
    op ".s8 " s ", " a ", q1\n"        \
    op ".s8 " t ", " b ", q1\n"
#define NARROW_BLOCK(op, a, b)                                                                          \
    NARROW_ROW(op, "r0", "r8", a, b) NARROW_ROW(op, "r2", "r10", a, b) NARROW_ROW(op, "r4", "r12", a, b) \
    NARROW_ROW(op, "r6", "lr", a, b)
#define NARROW_TILES(load, blocks)             \
    "push {r4-r11, lr}\n"                      \
    "vpush {d8-d15}\n"                         \
    "ldrd r2, r3, [r0]\n" load                 \
    "mov r11, r2\n"                            \
    "ldrd r1, r5, [r0, #24]\n"                 \
    "ldr r7, [r0, #32]\n"                      \
    "ldrd r2, r4, [r0, #16]\n"                 \
    "add r9, r7, r2\n"                         \
    "ldrd r0, r2, [r0, #36]\n"                 \
    "push {r0, r2, r4}\n" /* scales, end of the first result */ \
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
    "ldr r4, [sp, #8]\n"                       \
    "vmul.f32 q1, q1, q2\n"                    \
    "vstrw.32 q0, [r7], #16\n"                 \
    "vstrw.32 q1, [r9], #16\n"                 \
    "cmp r7, r4\n"                             \
    "bne 1b\n"                                 \
    "add sp, sp, #12\n"                        \
    "vpop {d8-d15}\n"                          \
    "pop {r4-r11, pc}\n"

static MMOE_NAKED void matmul_pair_32(MMOE_UNUSED const mmoe_pair *pair) {
    __asm__(NARROW_TILES("vldrb.8 q4, [r2]\n"
                         "vldrb.8 q5, [r2, #16]\n"
                         "vldrb.8 q6, [r3]\n"
                         "vldrb.8 q7, [r3, #16]\n",
                         NARROW_BLOCK("vmladav", "q4", "q6") NARROW_BLOCK("vmladava", "q5", "q7")));
}
/* 64 columns of the first input, held, and of the second one */
#define HOLD_64 \
    "vldrb.8 q4, [r2]\n" "vldrb.8 q5, [r2, #16]\n" "vldrb.8 q6, [r2, #32]\n" "vldrb.8 q7, [r2, #48]\n"
#define BLOCKS_64                                              \
    "vldrb.8 q0, [r3]\n" NARROW_BLOCK("vmladav", "q4", "q0")       \
    "vldrb.8 q0, [r3, #16]\n" NARROW_BLOCK("vmladava", "q5", "q0") \
    "vldrb.8 q0, [r3, #32]\n" NARROW_BLOCK("vmladava", "q6", "q0") \
    "vldrb.8 q0, [r3, #48]\n" NARROW_BLOCK("vmladava", "q7", "q0")
static MMOE_NAKED void matmul_pair_64(MMOE_UNUSED const mmoe_pair *pair) { __asm__(NARROW_TILES(HOLD_64, BLOCKS_64)); }
#define BLOCK_128(at) \
    "vldrb.8 q0, [r3, #" at "]\n" "vldrb.8 q2, [r11, #" at "]\n" NARROW_BLOCK("vmladava", "q2", "q0")
static MMOE_NAKED void matmul_pair_128(MMOE_UNUSED const mmoe_pair *pair) {
    __asm__(NARROW_TILES(HOLD_64, BLOCKS_64 BLOCK_128("64") BLOCK_128("80") BLOCK_128("96") BLOCK_128("112")));
}
#endif

void mmoe_matmul_s8(const mmoe_matrix *w, const mmoe_vector *const *x, float *const *y, uint32_t count, void *scratch) {
    uint32_t i = 0;
    (void)scratch;
#if __ARM_FEATURE_MVE & 2
    const uint32_t blocks = MMOE_PAD(w->columns, 16u) / 16, whole = w->rows & ~3u;
    const mmoe_matrix rest = {w->rows - whole, w->columns, 8, (const int8_t *)w->weights + whole * 16 * blocks, NULL,
                              w->row_scales + whole};
    for (; i + 2 <= count && whole && mmoe_scale_is_safe(x[i]->scale) && mmoe_scale_is_safe(x[i + 1]->scale); i += 2) {
        const mmoe_pair pair = {{mmoe_vector_const_s8(x[i]), mmoe_vector_const_s8(x[i + 1])}, (blocks - 1) / 4, (blocks - 1) % 4,
                                (uint32_t)((uintptr_t)y[i + 1] - (uintptr_t)y[i]), y[i] + whole, w->weights, w->row_scales,
                                y[i], {x[i]->scale, x[i + 1]->scale}};
        if (blocks == 8)
            matmul_pair_128(&pair);
        else if (blocks == 4)
            matmul_pair_64(&pair);
        else if (blocks == 2)
            matmul_pair_32(&pair);
        else
            matmul_pair(&pair);
        for (uint32_t k = i; k < i + 2 && rest.rows; k++) mmoe_matvec_s8(&rest, x[k], y[k] + whole);
    }
#endif
    for (; i < count; i++) mmoe_matvec_s8(w, x[i], y[i]);
}
