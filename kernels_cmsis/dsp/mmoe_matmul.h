/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MMOE_MATMUL_H
#define MMOE_MATMUL_H

#include "mmoe_dsp.h"

#if defined(__ARM_FP) && (__ARM_FP & 4)
#define MMOE_TILES 1

/* What the products of two or four vectors take: y[v] (4 tiles) = f32(sums) * (scale[v] * row_scales). The vectors lie
 * interleaved: of every four columns, two words of each, so that one pointer and one LDM feed them all. Rows go one by one: the
 * accumulators of four vectors, two words of two vectors and a row's weights are all that 14 registers hold. */
typedef struct {
    const void *weights;         /* 0 */
    const uint32_t *input;       /* 4 */
    const uint32_t *input_end;   /* 8 */
    uint32_t tile_bytes;         /* 12: of a tile, as far as it is read */
    const uint8_t *group_scales; /* 16: INT4 */
    uint32_t skip;               /* 20: bytes from the end of a tile to the next one */
    uint32_t tiles;              /* 24: at least 1; used up */
    uint32_t row_step;           /* 28: bytes from the row scales of a tile to those of the next one */
    const float *row_scales;     /* 32: moves on */
    float *y[4];                 /* 36: move on */
    float scale[4];              /* 52 */
} mmoe_tiles;

void mmoe_tiles_s8(mmoe_tiles *tiles, uint32_t vectors);    /* 2 or 4; in mmoe_matmul_s8.c */
void mmoe_tiles_s4g32(mmoe_tiles *tiles, uint32_t vectors); /* in mmoe_matmul_s4g32.c */

/* r0 weights, r1 input, r2..r5 input words of two vectors, r7 and `odd` the halves of a weight word, r10..r12 and lr sums of
 * the vectors. The first products of a sum may be SMUAD ones. Without
 * spaces, because C promises no string longer than 4095 characters. */
#define MMOE_TWO_FIRST(s, t, odd)        \
    "ldm r1!,{r2-r5}\n"                  \
    "smuad " s ",r7,r2\n"                \
    "smuad " t ",r7,r4\n"                \
    "smlad " s "," odd ",r3," s "\n"     \
    "smlad " t "," odd ",r5," t "\n"
#define MMOE_TWO_NEXT(s, t, odd)         \
    "ldm r1!,{r2-r5}\n"                  \
    "smlad " s ",r7,r2," s "\n"          \
    "smlad " t ",r7,r4," t "\n"          \
    "smlad " s "," odd ",r3," s "\n"     \
    "smlad " t "," odd ",r5," t "\n"
#define MMOE_FIRST_2(odd) MMOE_TWO_FIRST("r10", "r11", odd)
#define MMOE_NEXT_2(odd) MMOE_TWO_NEXT("r10", "r11", odd)
#define MMOE_FIRST_4(odd) MMOE_FIRST_2(odd) MMOE_TWO_FIRST("r12", "lr", odd)
#define MMOE_NEXT_4(odd) MMOE_NEXT_2(odd) MMOE_TWO_NEXT("r12", "lr", odd)

/* The stack: below S the sums of the rows so far, 16 bytes a row, the last one first; at S + 16 (3 - k), for row k: the input,
 * what brings the weights to the next row (0 in the last one: then ADDS leaves no carry), where its group scales are, and the
 * input's end; at S + 64 the mmoe_tiles. Behind the sums of row k its four words are at sp + 64. */
#define MMOE_TILES_BEGIN                        \
    "push {r4-r11, lr}\n"                       \
    "vpush {s16-s31}\n"                         \
    "sub sp, sp, #48\n" /* for who adds up pushes: what those of three more rows take */ \
    "add sp, sp, #48\n"                         \
    "sub sp, sp, #4\n"                          \
    "push {r0}\n"                               \
    "ldmia r0, {r4-r8}\n"                       \
    "add r1, r0, #52\n"                         \
    "vldmia r1, {s28-s31}\n"                    \
    "mov r0, r4\n"                              \
    "mov r1, r5\n"                              \
    "rsb r2, r7, #16\n"                         \
    "mov r4, r6\n"                              \
    "mov r3, r8\n"                              \
    "push {r1-r4}\n"                            \
    "add r3, r3, #1\n"                          \
    "push {r1-r4}\n"                            \
    "add r3, r3, #1\n"                          \
    "push {r1-r4}\n"                            \
    "add r3, r3, #1\n"                          \
    "movs r2, #0\n"                             \
    "push {r1-r4}\n"
#define MMOE_TILES_END                          \
    "add sp, sp, #72\n"                         \
    "vpop {s16-s31}\n"                          \
    "pop {r4-r11, pc}\n"
/* Goes on with the next row at `label`, unless this was the fourth. */
#define MMOE_ROW_NEXT(label)                    \
    "ldrd r1, r2, [sp, #64]\n"                  \
    "adds r0, r0, r2\n"                         \
    "bcs " label "\n"
/* s0..s15: sums, the fourth row first. Writes y[v] to `to`; s24..s27 are the row scales. */
#define MMOE_SCALE_VECTOR(to, scale, r0_, r1_, r2_, r3_) \
    "vmul.f32 s16, s24, " scale "\n"            \
    "vmul.f32 s17, s25, " scale "\n"            \
    "vmul.f32 s18, s26, " scale "\n"            \
    "vmul.f32 s19, s27, " scale "\n"            \
    "vcvt.f32.s32 " r0_ ", " r0_ "\n"           \
    "vcvt.f32.s32 " r1_ ", " r1_ "\n"           \
    "vcvt.f32.s32 " r2_ ", " r2_ "\n"           \
    "vcvt.f32.s32 " r3_ ", " r3_ "\n"           \
    "vmul.f32 s20, " r0_ ", s16\n"              \
    "vmul.f32 s21, " r1_ ", s17\n"              \
    "vmul.f32 s22, " r2_ ", s18\n"              \
    "vmul.f32 s23, " r3_ ", s19\n"              \
    "vstmia " to "!, {s20-s23}\n"
#define MMOE_SCALE_2                                            \
    MMOE_SCALE_VECTOR("r4", "s28", "s12", "s8", "s4", "s0")     \
    MMOE_SCALE_VECTOR("r5", "s29", "s13", "s9", "s5", "s1")
#define MMOE_SCALE_4 MMOE_SCALE_2                               \
    MMOE_SCALE_VECTOR("r6", "s30", "s14", "s10", "s6", "s2")    \
    MMOE_SCALE_VECTOR("r7", "s31", "s15", "s11", "s7", "s3")
#define MMOE_TILE_NEXT(scale_vectors, label)    \
    "vldmia sp!, {s0-s15}\n"                    \
    "ldr r2, [sp, #64]\n"                       \
    "add r3, r2, #32\n"                         \
    "ldmia r3, {r3-r7}\n"                       \
    "vldmia r3, {s24-s27}\n"                    \
    scale_vectors                               \
    "add r1, r2, #20\n"                         \
    "ldmia r1, {r8, r9, r10}\n"                 \
    "add r3, r3, r10\n"                         \
    "add r0, r0, r8\n"                          \
    "sub r0, r0, #48\n"                         \
    "subs r9, r9, #1\n"                         \
    "str r9, [r2, #24]\n"                       \
    "add r2, r2, #32\n"                         \
    "stmia r2, {r3-r7}\n"                       \
    "ldr r1, [sp]\n"                            \
    "bne " label "\n"

/* Interleaves two or four vectors, `bytes` each (a multiple of 8): the words of four columns of each in turn. */
static inline void mmoe_interleave(const mmoe_vector *const *x, uint32_t vectors, uint32_t bytes, void *to) {
    const mmoe_vector *a = x[0] + 1, *b = x[1] + 1, *c = vectors == 4 ? x[2] + 1 : b, *d = vectors == 4 ? x[3] + 1 : b;
    const void *const end = (const uint8_t *)a + bytes;
    uint32_t low, high;
#define MMOE_MOVE(from) "ldrd %[low], %[high], [%[" from "]], #8\n" "strd %[low], %[high], [%[to]], #8\n"
    if (vectors == 4)
        __asm__ volatile("1:\n" MMOE_MOVE("a") MMOE_MOVE("b") MMOE_MOVE("c") MMOE_MOVE("d")
                         "cmp %[a], %[end]\n"
                         "bne 1b\n"
                         : [a] "+r"(a), [b] "+r"(b), [c] "+r"(c), [d] "+r"(d), [to] "+r"(to), [low] "=&r"(low), [high] "=&r"(high)
                         : [end] "r"(end)
                         : "cc", "memory");
    else
        __asm__ volatile("1:\n" MMOE_MOVE("a") MMOE_MOVE("b")
                         "cmp %[a], %[end]\n"
                         "bne 1b\n"
                         : [a] "+r"(a), [b] "+r"(b), [to] "+r"(to), [low] "=&r"(low), [high] "=&r"(high)
                         : [end] "r"(end)
                         : "cc", "memory");
}

static inline void mmoe_run_tiles(mmoe_tiles *tiles, uint32_t vectors, uint32_t bits) {
    if (bits == 8)
        mmoe_tiles_s8(tiles, vectors);
    else
        mmoe_tiles_s4g32(tiles, vectors);
}

/* Two or four vectors times a matrix; rows of a last tile that are not the matrix's go nowhere. columns: padded to blocks */
static inline void mmoe_multiply(const mmoe_matrix *w, const mmoe_vector *const *x, float *const *y, uint32_t vectors,
                                 uint32_t bits, uint32_t columns, void *scratch) {
    const uint32_t tile_bytes = columns * bits / 2;
    mmoe_tiles t = {w->weights, scratch, (uint32_t *)scratch + vectors * columns / 2, tile_bytes, w->group_scales, 0,
                    w->rows / 4, 16, w->row_scales, {0}, {0}};
    const uint32_t whole = w->rows & ~3u, rest = w->rows - whole;
    mmoe_interleave(x, vectors, 2 * columns, scratch);
    for (uint32_t v = 0; v < vectors; v++) t.y[v] = y[v], t.scale[v] = x[v]->scale;
    if (whole) mmoe_run_tiles(&t, vectors, bits);
    if (rest) {
        float last[4][4];
        t.weights = (const uint8_t *)w->weights + whole / 4 * tile_bytes;
        if (w->group_scales) t.group_scales = w->group_scales + whole / 4 * (tile_bytes / 16);
        t.row_scales = w->row_scales + whole;
        t.tiles = 1;
        for (uint32_t v = 0; v < vectors; v++) t.y[v] = last[v];
        mmoe_run_tiles(&t, vectors, bits);
        for (uint32_t v = 0; v < vectors; v++) memcpy(y[v] + whole, last[v], rest * sizeof(float));
    }
}

/* --- many vectors: a tile's weights become words as a vector's elements are, once, and meet one vector after the other --------- */

/* A vector; where the words of the next one are, NULL in the last one */
typedef struct {
    const void *next; /* 0 */
    float *y;         /* 4: moves on */
    float scale;      /* 8 */
} mmoe_item;

/* Four rows times the items' vectors, the first of which lies at `input`. weights: int16 (columns / 2, 4 rows, 2) */
typedef struct {
    const uint32_t *weights; /* 0 */
    uint32_t columns;        /* 4: a multiple of 16 */
    const void *input;       /* 8 */
    mmoe_item *items;        /* 12 */
    const float *row_scales; /* 16 */
} mmoe_wide_tile;

void mmoe_multiply_wide(const mmoe_wide_tile *tile); /* in mmoe_matmul_s8.c */

/* How a tile of packed weights, tile_bytes long, becomes the weights of an mmoe_wide_tile */
typedef void (*mmoe_widen)(const void *weights, uint32_t tile_bytes, uint32_t *to, const uint8_t *group_scales);

static inline void mmoe_multiply_many(const mmoe_matrix *w, const mmoe_vector *const *x, float *const *y, uint32_t count,
                                      uint32_t bits, uint32_t columns, mmoe_widen widen, void *scratch) {
    const uint32_t tile_bytes = columns * bits / 2, whole = w->rows & ~3u, rest = w->rows - whole;
    const uint8_t *weights = w->weights, *group_scales = w->group_scales;
    const uint32_t group_bytes = group_scales ? tile_bytes / 16 : 0;
    mmoe_item *const items = (mmoe_item *)(void *)((uint8_t *)scratch + 8 * columns);
    mmoe_wide_tile tile = {scratch, columns, x[0] + 1, items, w->row_scales};
    for (uint32_t v = 0; v < count; v++) items[v] = (mmoe_item){v + 1 < count ? x[v + 1] + 1 : NULL, y[v], x[v]->scale};
    for (uint32_t row = 0; row < whole; row += 4, weights += tile_bytes, group_scales += group_bytes, tile.row_scales += 4) {
        widen(weights, tile_bytes, scratch, group_scales);
        mmoe_multiply_wide(&tile);
    }
    if (rest == 0) return;
    widen(weights, tile_bytes, scratch, group_scales);
    for (uint32_t v = 0; v < count; v++) { /* one by one, because rows that are not the matrix's go nowhere */
        float last[4];
        items[0] = (mmoe_item){NULL, last, x[v]->scale};
        tile.input = x[v] + 1;
        mmoe_multiply_wide(&tile);
        memcpy(y[v] + whole, last, rest * sizeof(float));
    }
}

#endif
#endif
