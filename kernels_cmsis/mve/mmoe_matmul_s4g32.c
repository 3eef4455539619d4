/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_s4g32.h"

#if __ARM_FEATURE_MVE & 2
/* Four rows times two vectors: nibbles are taken apart once for both. The inputs of the two nibble planes are in q0, q1 and q2,
 * q3; r0, r2, r4, r6 are a group's sums of the first vector, r8, r10, r12, lr those of the second. */
#define ROW(s, t) /* few characters: a string may have 4095 */ \
    "vldrb.8 q4, [r1], #16\n"        \
    "vshl.i8 q5, q4, #4\n"           \
    "vand q4,q4,q6\n"                \
    "vmladav.s8 " s ",q0,q5\n"       \
    "vmladav.s8 " t ",q2,q5\n"       \
    "vmladava.s8 " s ",q1,q4\n"      \
    "vmladava.s8 " t ",q3,q4\n"

typedef struct {
    const int8_t *x[2];          /* 0 */
    uint32_t groups;             /* 8: at most MMOE_S4_GROUPS */
    uint32_t y_offset;           /* 12: bytes from the first result to the second */
    float *y_end;                /* 16: of the first one */
    const float *row_scales;     /* 20 */
    const uint8_t *weights;      /* 24 */
    const uint8_t *group_scales; /* 28 */
    float *y;                    /* 32 */
    float scale[2];              /* 36: sixteenths */
} mmoe_pair;

/* On the stack: the second vector's four sums, then 16: the first 24 bytes of the pair, 40: the scales. q7: the first one's sums */
static MMOE_NAKED void matmul_pair(MMOE_UNUSED const mmoe_pair *pair) {
    __asm__("push {r4-r11, lr}\n"
            "vpush {d8-d15}\n"
            "ldrd r2, r3, [r0, #36]\n"
            "push {r2, r3}\n"
            "ldr r1, [r0, #24]\n"
            "ldr r11, [r0, #32]\n"
            "ldmia r0, {r2-r7}\n"
            "push {r2-r7}\n"
            "ldr r7, [r0, #28]\n" /* group scales */
            "sub sp, sp, #16\n"
            "vmov.i8 q6, #0xF0\n"
            "0:\n"
            "vmov.i32 q7, #0\n"
            "vstrw.32 q7, [sp]\n"
            "ldrd r3, r5, [sp, #16]\n"
            "ldr r9, [sp, #24]\n"
            "1:\n"
            "vld20.32 {q0, q1}, [r3]\n"
            "vld21.32 {q0, q1}, [r3]!\n"
            "vld20.32 {q2, q3}, [r5]\n"
            "vld21.32 {q2, q3}, [r5]!\n" ROW("r0", "r8") ROW("r2", "r10") ROW("r4", "r12") ROW("r6", "lr")
            "vldrb.u32 q2, [r7], #4\n"
            "vmov q0[2], q0[0], r0, r4\n"
            "vmov q0[3], q0[1], r2, r6\n"
            "vmov q1[2], q1[0], r8, r12\n"
            "vmul.i32 q0, q0, q2\n"
            "vmov q1[3], q1[1], r10, lr\n"
            "vadd.i32 q7, q7, q0\n"
            "vldrw.32 q3, [sp]\n"
            "vmul.i32 q1, q1, q2\n"
            "subs r9, r9, #1\n"
            "vadd.i32 q3, q3, q1\n"
            "vstrw.32 q3, [sp]\n"
            "bne 1b\n"
            "ldr r4, [sp, #36]\n"
            "ldrd r2, r6, [sp, #40]\n"
            "vldrw.32 q0, [r4], #16\n"
            "str r4, [sp, #36]\n"
            "ldrd r3, r5, [sp, #28]\n"
            "vcvt.f32.s32 q7, q7\n"
            "vmul.f32 q1, q0, r2\n"
            "vcvt.f32.s32 q3, q3\n"
            "vmul.f32 q0, q0, r6\n"
            "add r3, r3, r11\n"
            "vmul.f32 q7, q7, q1\n"
            "vmul.f32 q3, q3, q0\n"
            "vstrw.32 q7, [r11], #16\n"
            "vstrw.32 q3, [r3]\n"
            "cmp r11, r5\n"
            "bne 0b\n"
            "add sp, sp, #48\n"
            "vpop {d8-d15}\n"
            "pop {r4-r11, pc}\n");
}

/* Narrow matrices: of one group the inputs stay in q0..q3, of two and four they are loaded without an address to move on. Sums are
 * 16 times too large, which the scales make up for. The first vector's are in q7, the second one's on the stack; behind them, at
 * 16: scales, the end of the first result. r3 inputs, r5 row scales, r7 group scales, r9 and r11 results */
typedef struct {
    const int8_t *inputs;        /* 0: nibble planes (groups, 2 vectors, 2, 16) */
    const uint8_t *weights;      /* 4 */
    const uint8_t *group_scales; /* 8 */
    const float *row_scales;     /* 12 */
    float *y[2];                 /* 16 */
    float *y_end;                /* 24: of the first one */
    float scale[2];              /* 28: sixteenths */
} narrow_pair;

#define ROWS ROW("r0", "r8") ROW("r2", "r10") ROW("r4", "r12") ROW("r6", "lr")
#define INPUTS(a, b, c, d)             \
    "vldrw.32 q0, [r3, #" a "]\n"      \
    "vldrw.32 q1, [r3, #" b "]\n"      \
    "vldrw.32 q2, [r3, #" c "]\n"      \
    "vldrw.32 q3, [r3, #" d "]\n"
/* Sums of a group times its scales */
#define WEIGH_GROUP(a, b, scales)                  \
    "vldrb.u32 " scales ", [r7], #4\n"             \
    "vmov " a "[2], " a "[0], r0, r4\n"            \
    "vmov " a "[3], " a "[1], r2, r6\n"            \
    "vmov " b "[2], " b "[0], r8, r12\n"           \
    "vmul.i32 " a ", " a ", " scales "\n"          \
    "vmov " b "[3], " b "[1], r10, lr\n"           \
    "vmul.i32 " b ", " b ", " scales "\n"
#define NARROW_TILES(load, groups, scales, other)  \
    "push {r4-r11, lr}\n"                          \
    "vpush {d8-d15}\n"                             \
    "sub sp, sp, #32\n"                            \
    "ldr r4, [r0, #24]\n"                          \
    "ldrd r2, r3, [r0, #28]\n"                     \
    "strd r2, r3, [sp, #16]\n"                     \
    "str r4, [sp, #24]\n"                          \
    "ldrd r3, r1, [r0]\n"                          \
    "ldrd r7, r5, [r0, #8]\n"                      \
    "ldrd r9, r11, [r0, #16]\n" load               \
    "1:\n"                                         \
    "vmov.i8 q6, #0xF0\n" groups                   \
    "vcvt.f32.s32 q4, q4\n"                        \
    "ldrd r0, r2, [sp, #16]\n"                     \
    "vldrw.32 " scales ", [r5], #16\n"             \
    "vcvt.f32.s32 q5, q5\n"                        \
    "vmul.f32 " other ", " scales ", r0\n"         \
    "vmul.f32 " scales ", " scales ", r2\n"        \
    "vmul.f32 q4, q4, " other "\n"                 \
    "ldr r4, [sp, #24]\n"                          \
    "vmul.f32 q5, q5, " scales "\n"                \
    "vstrw.32 q4, [r9], #16\n"                     \
    "vstrw.32 q5, [r11], #16\n"                    \
    "cmp r9, r4\n"                                 \
    "bne 1b\n"                                     \
    "add sp, sp, #32\n"                            \
    "vpop {d8-d15}\n"                              \
    "pop {r4-r11, pc}\n"

static MMOE_NAKED void matmul_pair_32(MMOE_UNUSED const narrow_pair *pair) {
    __asm__(NARROW_TILES(INPUTS("0", "16", "32", "48"), ROWS WEIGH_GROUP("q4", "q5", "q7"), "q7", "q6"));
}
#define FIRST_GROUP INPUTS("0", "16", "32", "48") ROWS WEIGH_GROUP("q7", "q1", "q0") "vstrw.32 q1, [sp]\n"
#define NEXT_GROUP(a, b, c, d) INPUTS(a, b, c, d) ROWS WEIGH_GROUP("q1", "q2", "q0") "vldrw.32 q5, [sp]\n"
#define ADD_TO(first, second)            \
    "vadd.i32 " first ", q7, q1\n"       \
    "vadd.i32 " second ", q5, q2\n"
#define MIDDLE_GROUP(a, b, c, d) NEXT_GROUP(a, b, c, d) ADD_TO("q7", "q2") "vstrw.32 q2, [sp]\n"
#define LAST_GROUP(a, b, c, d) NEXT_GROUP(a, b, c, d) ADD_TO("q4", "q5")

static MMOE_NAKED void matmul_pair_64(MMOE_UNUSED const narrow_pair *pair) {
    __asm__(NARROW_TILES("", FIRST_GROUP LAST_GROUP("64", "80", "96", "112"), "q0", "q1"));
}
static MMOE_NAKED void matmul_pair_128(MMOE_UNUSED const narrow_pair *pair) {
    __asm__(NARROW_TILES("", FIRST_GROUP MIDDLE_GROUP("64", "80", "96", "112") MIDDLE_GROUP("128", "144", "160", "176")
                         LAST_GROUP("192", "208", "224", "240"), "q0", "q1"));
}

/* The planes of one group of a vector */
static inline void split_inputs(const int8_t *x, int8_t *to) {
    __asm__ volatile("vld20.32 {q0, q1}, [%[x]]\n"
                     "vld21.32 {q0, q1}, [%[x]]\n"
                     "vstrb.8 q0, [%[to]]\n"
                     "vstrb.8 q1, [%[to], #16]\n"
                     :
                     : [x] "r"(x), [to] "l"(to)
                     : "q0", "q1", "memory");
}

static void multiply_narrow(const mmoe_matrix *w, const mmoe_vector *const x[2], float *const y[2], uint32_t groups, int8_t *inputs) {
    for (uint32_t g = 0; g < groups; g++)
        for (uint32_t v = 0; v < 2; v++) split_inputs(mmoe_vector_const_s8(x[v]) + 32 * g, inputs + 64 * g + 32 * v);
    const narrow_pair pair = {inputs, w->weights, w->group_scales, w->row_scales, {y[0], y[1]}, y[0] + (w->rows & ~3u),
                              {x[0]->scale * 0.0625f, x[1]->scale * 0.0625f}};
    if (groups == 4)
        matmul_pair_128(&pair);
    else if (groups == 2)
        matmul_pair_64(&pair);
    else
        matmul_pair_32(&pair);
}
#endif

void mmoe_matmul_s4g32(const mmoe_matrix *w, const mmoe_vector *const *x, float *const *y, uint32_t count, void *scratch) {
    uint32_t i = 0;
    (void)scratch;
#if __ARM_FEATURE_MVE & 2
    const uint32_t groups = MMOE_GROUPS((uint32_t)w->columns), whole = groups <= MMOE_S4_GROUPS ? w->rows & ~3u : 0;
    const mmoe_matrix rest = {w->rows - whole, w->columns, 4, (const uint8_t *)w->weights + whole * 16 * groups,
                              w->group_scales + whole * groups, w->row_scales + whole};
    for (; i + 2 <= count && whole && mmoe_s4_scale_is_safe(x[i]->scale) && mmoe_s4_scale_is_safe(x[i + 1]->scale); i += 2) {
        if (groups <= 2 || groups == 4)
            multiply_narrow(w, x + i, y + i, groups, scratch);
        else
            matmul_pair(&(mmoe_pair){{mmoe_vector_const_s8(x[i]), mmoe_vector_const_s8(x[i + 1])},
                                     groups, (uint32_t)((uintptr_t)y[i + 1] - (uintptr_t)y[i]), y[i] + whole, w->row_scales,
                                     w->weights, w->group_scales, y[i], {x[i]->scale * 0.0625f, x[i + 1]->scale * 0.0625f}});
        for (uint32_t k = i; k < i + 2 && rest.rows; k++) mmoe_matvec_s4g32(&rest, x[k], y[k] + whole);
    }
#endif
    for (; i < count; i++) mmoe_matvec_s4g32(w, x[i], y[i]);
}
