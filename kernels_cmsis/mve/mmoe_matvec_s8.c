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

/* Narrow matrices: the whole input stays in q4..q7. r1 weights, r5 y, r7 row scales, r9 scale */
#define HELD(op, input)                                     \
    "vldrb.8 q0, [r1], #16\n" op ".s8 r0, " input ", q0\n" \
    "vldrb.8 q0, [r1], #16\n" op ".s8 r2, " input ", q0\n" \
    "vldrb.8 q0, [r1], #16\n" op ".s8 r4, " input ", q0\n" \
    "vldrb.8 q0, [r1], #16\n" op ".s8 r6, " input ", q0\n"
#define HELD_TILES(load, blocks)        \
    "push {r4-r7, r9, lr}\n"            \
    "vpush {d8-d15}\n" load             \
    "mov r5, r2\n"                      \
    "ldr r9, [r1]\n"                    \
    "ldr lr, [r0]\n"                    \
    "ldr r7, [r0, #16]\n"               \
    "lsr lr, lr, #2\n"                  \
    "ldr r1, [r0, #8]\n"                \
    "1:\n" blocks                       \
    "vldrw.32 q1, [r7], #16\n"          \
    "vmov q0[2], q0[0], r0, r4\n"       \
    "vmul.f32 q1, q1, r9\n"             \
    "vmov q0[3], q0[1], r2, r6\n"       \
    "vcvt.f32.s32 q0, q0\n"             \
    "vmul.f32 q0, q0, q1\n"             \
    "vstrw.32 q0, [r5], #16\n"          \
    "le lr, 1b\n"                       \
    "vpop {d8-d15}\n"                   \
    "pop {r4-r7, r9, pc}\n"

/* Whole tiles of a matrix, at least one */
#define WHOLE_TILES(name) \
    static __attribute__((used)) MMOE_NAKED void name(MMOE_UNUSED const mmoe_matrix *w, MMOE_UNUSED const mmoe_vector *x, MMOE_UNUSED float *y)

WHOLE_TILES(tiles_32) {
    __asm__(HELD_TILES("vldrb.8 q4, [r1, #16]\n"
                       "vldrb.8 q5, [r1, #32]\n",
                       HELD("vmladav", "q4") HELD("vmladava", "q5")));
}
WHOLE_TILES(tiles_64) {
    __asm__(HELD_TILES("vldrb.8 q4, [r1, #16]\n"
                       "vldrb.8 q5, [r1, #32]\n"
                       "vldrb.8 q6, [r1, #48]\n"
                       "vldrb.8 q7, [r1, #64]\n",
                       HELD("vmladav", "q4") HELD("vmladava", "q5") HELD("vmladava", "q6") HELD("vmladava", "q7")));
}
/* Of 128 columns six blocks stay in q2..q7. */
WHOLE_TILES(tiles_128) {
    __asm__(HELD_TILES("vldrb.8 q2, [r1, #16]\n"
                       "vldrb.8 q3, [r1, #32]\n"
                       "vldrb.8 q4, [r1, #48]\n"
                       "vldrb.8 q5, [r1, #64]\n"
                       "vldrb.8 q6, [r1, #80]\n"
                       "vldrb.8 q7, [r1, #96]\n"
                       "add r3, r1, #112\n",
                       HELD("vmladav", "q2") HELD("vmladava", "q3") HELD("vmladava", "q4") HELD("vmladava", "q5")
                       HELD("vmladava", "q6") HELD("vmladava", "q7")
                       "vldrb.8 q1, [r3]\n" HELD("vmladava", "q1")
                       "vldrb.8 q1, [r3, #16]\n" HELD("vmladava", "q1")));
}
WHOLE_TILES(tiles) {
    __asm__("push {r4-r11, lr}\n"
            "ldrh r11, [r0, #4]\n"
            "ldr r4, [r1]\n"
            "add r11, r11, #15\n"
            "vdup.32 q2, r4\n"
            "lsr r9, r11, #6\n" /* four blocks at a time, then the rest of them */
            "ubfx r11, r11, #4, #2\n"
            "add r10, r1, #16\n"
            "ldr r8, [r0]\n"
            "mov r5, r2\n"
            "ldr r7, [r0, #16]\n"
            "lsr r8, r8, #2\n"
            "ldr r1, [r0, #8]\n"
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

static inline void run_whole(const mmoe_matrix *w, const mmoe_vector *x, float *y) {
    switch ((w->columns + 15u) / 16) {
    case 4: tiles_64(w, x, y); return;
    case 8: tiles_128(w, x, y); return;
    case 2: tiles_32(w, x, y); return;
    default: tiles(w, x, y); return;
    }
}
#endif

/* A matrix whose last tile is not whole, or a scale that is not safe */
static __attribute__((noinline, used)) void run_parts(const mmoe_matrix *w, const mmoe_vector *x, float *y) {
    uint32_t row = 0;
#if __ARM_FEATURE_MVE & 2
    if (mmoe_scale_is_safe(x->scale) && w->rows >= 4) {
        run_whole(w, x, y);
        row = w->rows & ~3u;
    }
#endif
    mmoe_rows_by_sums(mmoe_sums_s8, w, x, y, row);
}

#if __ARM_FEATURE_MVE & 2
/* Where mmoe_scale_is_safe and every tile is whole, straight to the tiles */
MMOE_NAKED void mmoe_matvec_s8(MMOE_UNUSED const mmoe_matrix *w, MMOE_UNUSED const mmoe_vector *x, MMOE_UNUSED float *y) {
    __asm__("ldr r3, [r1]\n"
            "cmp r3, #0x20800000\n"
            "blo 3f\n"
            "1:\n"
            "ldr r3, [r0]\n"
            "lsls r3, r3, #30\n"
            "bne 2f\n"
            "ldrh r3, [r0, #4]\n"
            "adds r3, #15\n"
            "lsrs r3, r3, #4\n"
            "cmp r3, #4\n"
            "beq.w tiles_64\n"
            "cmp r3, #2\n"
            "beq.w tiles_32\n"
            "cmp r3, #8\n"
            "beq.w tiles_128\n"
            "b.w tiles\n"
            "3:\n"
            "cmp r3, #0\n"
            "beq 1b\n"
            "2:\n"
            "b.w run_parts\n");
}
#else
void mmoe_matvec_s8(const mmoe_matrix *w, const mmoe_vector *x, float *y) { run_parts(w, x, y); }
#endif
