/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_mve.h"

#if __ARM_FEATURE_MVE & 2
#define ROW(s)                  \
    "vldrb.8 q1, [r1], #16\n"   \
    "vmladava.s8 " s ", q0, q1\n"
#define BLOCK "vldrb.8 q0, [r3], #16\n" ROW("r0") ROW("r2") ROW("r4") ROW("r6")
#define BLOCKS                                   \
    "wls lr, r9, 2f\n"                           \
    "1:\n" BLOCK BLOCK BLOCK BLOCK "le lr, 1b\n" \
    "2:\n"                                       \
    "wls lr, r11, 4f\n"                          \
    "3:\n" BLOCK "le lr, 3b\n"                   \
    "4:\n"                                       \
    "vmov q0[2], q0[0], r0, r4\n"                \
    "vmov q0[3], q0[1], r2, r6\n"

typedef struct {
    const int8_t *weights;
    const int8_t *input;
    uint32_t quads, rest; /* blocks of 16 columns: quads * 4 + rest */
    float *y;
    const float *row_scales;
    uint32_t tiles; /* of four rows, at least 1 */
    float scale;
} mmoe_tiles;

/* Narrow matrices: the whole input stays in q4..q7. */
#define HELD(op, input)                                     \
    "vldrb.8 q0, [r1], #16\n" op ".s8 r0, " input ", q0\n" \
    "vldrb.8 q0, [r1], #16\n" op ".s8 r2, " input ", q0\n" \
    "vldrb.8 q0, [r1], #16\n" op ".s8 r4, " input ", q0\n" \
    "vldrb.8 q0, [r1], #16\n" op ".s8 r6, " input ", q0\n"
#define HELD_TILES(load, blocks)        \
    "push {r4-r7, lr}\n"                \
    "vpush {d8-d15}\n"                  \
    "ldr r2, [r0, #28]\n"               \
    "ldrd r5, r7, [r0, #16]\n"          \
    "ldrd r1, r3, [r0]\n"               \
    "ldr lr, [r0, #24]\n"               \
    "vdup.32 q3, r2\n" load             \
    "1:\n" blocks                       \
    "vldrw.32 q1, [r7], #16\n"          \
    "vmov q0[2], q0[0], r0, r4\n"       \
    "vmul.f32 q1, q1, q3\n"             \
    "vmov q0[3], q0[1], r2, r6\n"       \
    "vcvt.f32.s32 q0, q0\n"             \
    "vmul.f32 q0, q0, q1\n"             \
    "vstrw.32 q0, [r5], #16\n"          \
    "le lr, 1b\n"                       \
    "vpop {d8-d15}\n"                   \
    "pop {r4-r7, pc}\n"

static MMOE_NAKED void matvec_tiles_32(MMOE_UNUSED const mmoe_tiles *tiles) {
    __asm__(HELD_TILES("vldrb.8 q4, [r3]\n"
                       "vldrb.8 q5, [r3, #16]\n",
                       HELD("vmladav", "q4") HELD("vmladava", "q5")));
}
static MMOE_NAKED void matvec_tiles_64(MMOE_UNUSED const mmoe_tiles *tiles) {
    __asm__(HELD_TILES("vldrb.8 q4, [r3]\n"
                       "vldrb.8 q5, [r3, #16]\n"
                       "vldrb.8 q6, [r3, #32]\n"
                       "vldrb.8 q7, [r3, #48]\n",
                       HELD("vmladav", "q4") HELD("vmladava", "q5") HELD("vmladava", "q6") HELD("vmladava", "q7")));
}

static MMOE_NAKED void matvec_tiles(MMOE_UNUSED const mmoe_tiles *tiles) {
    __asm__("push {r4-r11, lr}\n"
            "ldr r2, [r0, #28]\n"
            "ldrd r5, r7, [r0, #16]\n"  /* y, row scales */
            "ldr r8, [r0, #24]\n"
            "ldrd r9, r11, [r0, #8]\n"
            "ldrd r1, r10, [r0]\n"      /* weights, input */
            "vdup.32 q2, r2\n"
            "0:\n"
            "mov r3, r10\n"
            "movs r0, #0\n"
            "movs r2, #0\n"
            "movs r4, #0\n"
            "movs r6, #0\n" BLOCKS
            "vldrw.32 q1, [r7], #16\n"
            "vcvt.f32.s32 q0, q0\n"
            "vmul.f32 q1, q1, q2\n"
            "subs r8, r8, #1\n"
            "vmul.f32 q0, q0, q1\n"
            "vstrw.32 q0, [r5], #16\n"
            "bne 0b\n"
            "pop {r4-r11, pc}\n");
}
#endif

void mmoe_matvec_s8(const mmoe_matrix *w, const mmoe_vector *x, float *y) {
    const uint32_t blocks = MMOE_PAD(w->columns, 16u) / 16;
    uint32_t row = 0;
#if __ARM_FEATURE_MVE & 2
    if (mmoe_scale_is_safe(x->scale) && w->rows >= 4) {
        const mmoe_tiles tiles = {w->weights, mmoe_vector_const_s8(x), blocks / 4, blocks % 4, y, w->row_scales,
                                  w->rows / 4, x->scale};
        if (blocks == 2)
            matvec_tiles_32(&tiles);
        else if (blocks == 4)
            matvec_tiles_64(&tiles);
        else
            matvec_tiles(&tiles);
        row = w->rows & ~3u;
    }
#endif
    for (; row < w->rows; row += 4) {
        const uint32_t count = w->rows - row < 4 ? w->rows - row : 4;
        mmoe_word sums[4];
        mmoe_sums_s8(&(mmoe_sums){(const int8_t *)w->weights + row * 16 * blocks, NULL, x + 1, blocks, 0, sums, 1});
        mmoe_scale_sums(sums, count, x->scale, w->row_scales + row);
        memcpy(y + row, sums, count * sizeof *y);
    }
}
