/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_mve.h"

#if __ARM_FEATURE_MVE & 2

#define mmoe_choose_f32 choose_scalar
static void choose_scalar(const float *score, const float *bias, uint32_t experts, uint32_t top_k, uint8_t *expert, int32_t *key);
#include "../reference/mmoe_choose_f32.c"
#undef mmoe_choose_f32

/* The sums alone: where MVE rounds one of them, or a part of one, to zero, it leaves its mark. */
static inline void add_scores(const float *score, const float *bias, uint32_t experts) {
    __asm__ volatile("dlstp.32 lr, %[n]\n"
                     "1:\n"
                     "vldrw.32 q0, [%[score]], #16\n"
                     "vldrw.32 q1, [%[bias]], #16\n"
                     "vadd.f32 q0, q0, q1\n"
                     "letp lr, 1b\n"
                     : [score] "+l"(score), [bias] "+l"(bias)
                     : [n] "r"(experts)
                     : "q0", "q1", "lr", "cc", "memory");
}

/* As integers, keys order as the floats do. */
static inline void make_keys(const float *score, const float *bias, uint32_t experts, int32_t *key) {
    __asm__ volatile("dlstp.32 lr, %[n]\n"
                     "1:\n"
                     "vldrw.32 q0, [%[score]], #16\n"
                     "vldrw.32 q1, [%[bias]], #16\n"
                     "vadd.f32 q0, q0, q1\n"
                     "vshr.s32 q1, q0, #31\n"
                     "vbic.i32 q1, #0x80000000\n"
                     "veor q0, q0, q1\n"
                     "vstrw.32 q0, [%[key]], #16\n"
                     "letp lr, 1b\n"
                     : [score] "+l"(score), [bias] "+l"(bias), [key] "+l"(key)
                     : [n] "r"(experts)
                     : "q0", "q1", "lr", "cc", "memory");
}

/* Index of the largest key, the lowest among equals; it is not found again. */
static inline uint32_t take_largest(int32_t *key, uint32_t experts) {
    int32_t largest = INT32_MIN;
    const int32_t *p = key;
    uint32_t lanes;
    __asm__ volatile("dlstp.32 lr, %[n]\n"
                     "1:\n"
                     "vldrw.32 q0, [%[p]], #16\n"
                     "vmaxv.s32 %[largest], q0\n"
                     "letp lr, 1b\n"
                     "mov %[p], %[key]\n"
                     "2:\n"
                     "vldrw.32 q0, [%[p]], #16\n"
                     "vcmp.i32 eq, q0, %[largest]\n"
                     "vmrs %[lanes], p0\n"
                     "cmp %[lanes], #0\n"
                     "beq 2b\n"
                     : [p] "+l"(p), [largest] "+r"(largest), [lanes] "=&r"(lanes)
                     : [key] "r"(key), [n] "r"(experts)
                     : "q0", "lr", "cc", "memory");
    const uint32_t index = (uint32_t)(p - key) - 4 + (uint32_t)__builtin_ctz(lanes) / 4;
    key[index] = INT32_MIN;
    return index;
}

void mmoe_choose_f32(const float *score, const float *bias, uint32_t experts, uint32_t top_k, uint8_t *expert, int32_t *key) {
    const int in_place = (const void *)key == bias; /* then the keys may take its place only once they are known to be right */
    mmoe_forget_flushes();
    if (in_place)
        add_scores(score, bias, experts);
    else
        make_keys(score, bias, experts, key);
    if (mmoe_flushed()) {
        choose_scalar(score, bias, experts, top_k, expert, key);
        return;
    }
    if (in_place) make_keys(score, bias, experts, key);
    for (uint32_t k = 0; k < top_k; k++) { /* into rising order */
        const uint8_t next = (uint8_t)take_largest(key, experts);
        uint32_t place = k;
        for (; place && next < expert[place - 1]; place--) expert[place] = expert[place - 1];
        expert[place] = next;
    }
}

#else
#include "../reference/mmoe_choose_f32.c"
#endif
