/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_s4g32.h"

#if __ARM_FEATURE_MVE & 2

/* Of the scale in s0, since sums stay 16 times too large */
#define SIXTEENTH                   \
    "vmov.f32 s1, #0.25\n"          \
    "vmul.f32 s0, s0, s1\n"         \
    "vmul.f32 s0, s0, s1\n"

/* Narrow matrices: the inputs of one group or two stay in q4..q7, low plane then high plane. r1 weights, r3 group scales, r5 y,
 * r7 row scales, r9 scale; q3 is 0xF0 in every byte. */
#define HELD_ROW(s, low, high)      \
    "vldrb.8 q0, [r1], #16\n"       \
    "vshl.i8 q1, q0, #4\n"          \
    "vmladav.s8 " s ", " low ", q1\n" \
    "vand q0, q0, q3\n"             \
    "vmladava.s8 " s ", " high ", q0\n"
#define HELD_GROUP(low, high)       \
    HELD_ROW("r0", low, high) HELD_ROW("r2", low, high) HELD_ROW("r4", low, high) HELD_ROW("r6", low, high) \
    "vldrb.u32 q1, [r3], #4\n"      \
    "vmov q0[2], q0[0], r0, r4\n"   \
    "vmov q0[3], q0[1], r2, r6\n"
#define HELD_TILES(load, groups)    \
    "push {r4-r7, r9, lr}\n"        \
    "vpush {d8-d15}\n"              \
    "add r3, r1, #16\n" load        \
    "mov r5, r2\n"                  \
    "vldr s0, [r1]\n" SIXTEENTH     \
    "vmov r9, s0\n"                 \
    "vmov.i8 q3, #0xF0\n"           \
    "ldr lr, [r0]\n"                \
    "ldrd r1, r3, [r0, #8]\n"       \
    "ldr r7, [r0, #16]\n"           \
    "lsr lr, lr, #2\n"              \
    "1:\n" groups                   \
    "vldrw.32 q0, [r7], #16\n"      \
    "vcvt.f32.s32 q2, q2\n"         \
    "vmul.f32 q0, q0, r9\n"         \
    "vmul.f32 q2, q2, q0\n"         \
    "vstrw.32 q2, [r5], #16\n"      \
    "le lr, 1b\n"                   \
    "vpop {d8-d15}\n"               \
    "pop {r4-r7, r9, pc}\n"

/* Whole tiles of a matrix, or pairs of them: at least one */
#define WHOLE_TILES(name) \
    static __attribute__((used)) MMOE_NAKED void name(MMOE_UNUSED const mmoe_matrix *w, MMOE_UNUSED const mmoe_vector *x, MMOE_UNUSED float *y)

WHOLE_TILES(tiles_32) {
    __asm__(HELD_TILES("vld20.32 {q4, q5}, [r3]\n"
                       "vld21.32 {q4, q5}, [r3]\n",
                       HELD_GROUP("q4", "q5") "vmul.i32 q2, q0, q1\n"));
}
WHOLE_TILES(tiles_64) {
    __asm__(HELD_TILES("vld20.32 {q4, q5}, [r3]\n"
                       "vld21.32 {q4, q5}, [r3]!\n"
                       "vld20.32 {q6, q7}, [r3]\n"
                       "vld21.32 {q6, q7}, [r3]\n",
                       HELD_GROUP("q4", "q5") "vmul.i32 q2, q0, q1\n"
                       HELD_GROUP("q6", "q7") "vmul.i32 q0, q0, q1\n" "vadd.i32 q2, q2, q0\n"));
}
WHOLE_TILES(pairs) {
    __asm__("push {r4-r11, lr}\n"
            "vpush {d8-d15}\n"
            "vldr s0, [r1]\n" SIXTEENTH
            "vmov r4, s0\n"
            "mov r8, r2\n"
            "vdup.32 q7, r4\n"
            "ldrh r11, [r0, #4]\n"
            "ldr r12, [r0]\n"
            "add r11, r11, #31\n"
            "ldr r10, [r0, #16]\n" /* row scales */
            "lsr r11, r11, #5\n"   /* groups */
            "lsr r12, r12, #3\n"
            "adds r1, r1, #16\n"
            "ldrd r3, r5, [r0, #8]\n" /* weights, group scales */
            "vmov.i8 q4, #0xF0\n"
            "add r9, r3, r11, lsl #6\n" /* the same of the second tile */
            "add r7, r5, r11, lsl #2\n"
            "0:\n"
            "vmov.i32 q5, #0\n"
            "vmov.i32 q6, #0\n"
            "dls lr, r11\n"
            "1:\n" MMOE_S4_INPUTS MMOE_S4_TILE("r3", "r5", "q5") MMOE_S4_TILE("r9", "r7", "q6")
            "le lr, 1b\n"
            "vldrw.32 q0, [r10], #16\n"
            "vcvt.f32.s32 q5, q5\n"
            "vldrw.32 q1, [r10], #16\n"
            "vmul.f32 q0, q0, q7\n"
            "vcvt.f32.s32 q6, q6\n"
            "vmul.f32 q1, q1, q7\n"
            "sub r1, r1, r11, lsl #5\n"
            "vmul.f32 q5, q5, q0\n"
            "mov r3, r9\n"
            "vmul.f32 q6, q6, q1\n"
            "mov r5, r7\n"
            "vstrw.32 q5, [r8], #16\n"
            "add r9, r9, r11, lsl #6\n"
            "vstrw.32 q6, [r8], #16\n"
            "add r7, r7, r11, lsl #2\n"
            "subs r12, r12, #1\n"
            "bne 0b\n"
            "vpop {d8-d15}\n"
            "pop {r4-r11, pc}\n");
}

/* Rows that were done */
static inline uint32_t run_whole(const mmoe_matrix *w, const mmoe_vector *x, float *y, uint32_t groups) {
    if (!mmoe_s4_scale_is_safe(x->scale) || groups > MMOE_S4_GROUPS || w->rows < 8) return 0;
    if (groups > 2) {
        pairs(w, x, y);
        return w->rows & ~7u;
    }
    if (groups == 2)
        tiles_64(w, x, y);
    else
        tiles_32(w, x, y);
    return w->rows & ~3u;
}
#endif

/* What is not whole, or has a scale that is not safe */
static __attribute__((noinline, used)) void run_parts(const mmoe_matrix *w, const mmoe_vector *x, float *y) {
#if __ARM_FEATURE_MVE & 2
    uint32_t row = run_whole(w, x, y, MMOE_GROUPS((uint32_t)w->columns));
#else
    uint32_t row = 0;
#endif
    mmoe_rows_by_sums(mmoe_sums_s4g32, w, x, y, row);
}

#if __ARM_FEATURE_MVE & 2
/* Where mmoe_s4_scale_is_safe, sums fit and pairs of tiles are whole, straight to the tiles */
MMOE_NAKED void mmoe_matvec_s4g32(MMOE_UNUSED const mmoe_matrix *w, MMOE_UNUSED const mmoe_vector *x, MMOE_UNUSED float *y) {
    __asm__("ldr r3, [r1]\n"
            "cmp r3, #0x22800000\n"
            "blo 3f\n"
            "1:\n"
            "ldr r3, [r0]\n"
            "lsls r3, r3, #29\n"
            "bne 2f\n"
            "ldrh r3, [r0, #4]\n"
            "adds r3, #31\n"
            "lsrs r3, r3, #5\n"
            "cmp r3, #2\n"
            "beq.w tiles_64\n"
            "blo.w tiles_32\n"
            "cmp r3, #16\n" /* MMOE_S4_GROUPS */
            "bls.w pairs\n"
            "b 2f\n"
            "3:\n"
            "cmp r3, #0\n"
            "beq 1b\n"
            "2:\n"
            "b.w run_parts\n");
}
#else
void mmoe_matvec_s4g32(const mmoe_matrix *w, const mmoe_vector *x, float *y) { run_parts(w, x, y); }
#endif
