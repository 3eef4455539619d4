/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MMOE_DSP_H
#define MMOE_DSP_H

#include "../reference/mmoe_private.h"

#define MMOE_UNUSED __attribute__((unused))
/* A function whose whole body is assembly: the loops need every register. Their argument is an mmoe_sums:
 * 0 weights, 4 group scales, 8 input, 12 blocks, 16 skip, 20 sums, 24 tiles. */
#define MMOE_NAKED __attribute__((naked, noinline))

/* Clobbers of the loops that load and store floats eight at a time */
#define MMOE_S0_S15 "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "s12", "s13", "s14", "s15"

/* Behind the header of an activation vector, in a query and in the result of the softmax: int16 in the order that SXTB16
 * gives, so that words of activations meet words of weights. Elements c..c+3 are the words (c, c+2) and (c+1, c+3). */

/* mmoe_quantize_s8 where max |x_i| is known; in mmoe_quantize_s8.c */
mmoe_status mmoe_quantize_known_s8(const float *x, uint32_t n, float largest, mmoe_vector *q);

#if defined(__ARM_FP) && (__ARM_FP & 4)
/* a, b, c, d: the next four of x * inverse, rounded */
#define MMOE_ROUND_FOUR             \
    "vldmia %[x]!, {s0-s3}\n"       \
    "vmul.f32 s0, s0, %[inverse]\n" \
    "vmul.f32 s1, s1, %[inverse]\n" \
    "vmul.f32 s2, s2, %[inverse]\n" \
    "vmul.f32 s3, s3, %[inverse]\n" \
    "vadd.f32 s0, s0, %[magic]\n"   \
    "vadd.f32 s1, s1, %[magic]\n"   \
    "vadd.f32 s2, s2, %[magic]\n"   \
    "vadd.f32 s3, s3, %[magic]\n"   \
    "vmov %[a], %[b], s0, s1\n"     \
    "vmov %[c], %[d], s2, s3\n"
/* Rounds x * inverse, eight elements at a time, into words as above; returns where the next one goes. */
static inline uint32_t *mmoe_round_eights(const float *x, uint32_t eights, float inverse, uint32_t *words) {
    const float magic = 0x1.8p23f;
    uint32_t a, b, c, d;
    if (eights == 0) return words;
    __asm__ volatile("1:\n"
                     "vldmia %[x]!, {s0-s7}\n"
                     "vmul.f32 s0, s0, %[inverse]\n"
                     "vmul.f32 s1, s1, %[inverse]\n"
                     "vmul.f32 s2, s2, %[inverse]\n"
                     "vmul.f32 s3, s3, %[inverse]\n"
                     "vmul.f32 s4, s4, %[inverse]\n"
                     "vmul.f32 s5, s5, %[inverse]\n"
                     "vmul.f32 s6, s6, %[inverse]\n"
                     "vmul.f32 s7, s7, %[inverse]\n"
                     "vadd.f32 s0, s0, %[magic]\n"
                     "vadd.f32 s1, s1, %[magic]\n"
                     "vadd.f32 s2, s2, %[magic]\n"
                     "vadd.f32 s3, s3, %[magic]\n"
                     "vmov %[a], %[b], s0, s1\n"
                     "vmov %[c], %[d], s2, s3\n"
                     "vadd.f32 s4, s4, %[magic]\n"
                     "vadd.f32 s5, s5, %[magic]\n"
                     "vadd.f32 s6, s6, %[magic]\n"
                     "vadd.f32 s7, s7, %[magic]\n"
                     "pkhbt %[a], %[a], %[c], lsl #16\n"
                     "pkhbt %[b], %[b], %[d], lsl #16\n"
                     "strd %[a], %[b], [%[words]], #8\n"
                     "vmov %[a], %[b], s4, s5\n"
                     "vmov %[c], %[d], s6, s7\n"
                     "pkhbt %[a], %[a], %[c], lsl #16\n"
                     "pkhbt %[b], %[b], %[d], lsl #16\n"
                     "strd %[a], %[b], [%[words]], #8\n"
                     "subs %[eights], %[eights], #1\n"
                     "bne 1b\n"
                     : [x] "+r"(x), [words] "+r"(words), [eights] "+r"(eights), [a] "=&r"(a), [b] "=&r"(b), [c] "=&r"(c),
                       [d] "=&r"(d)
                     : [inverse] "t"(inverse), [magic] "t"(magic)
                     : "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "cc", "memory");
    return words;
}
#endif

/* Two rounded integers in a word */
static inline uint32_t mmoe_round_pair(float low, float high) {
    uint32_t result, a = mmoe_bits(low + 0x1.8p23f), b = mmoe_bits(high + 0x1.8p23f);
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(result) : "r"(a), "r"(b));
    return result;
}

/* The same of any number of elements, four at a time, `step` bytes from the words of one four to those of the next */
static inline void mmoe_round_fours(const float *x, uint32_t n, float inverse, uint32_t *words, uint32_t step) {
    uint32_t fours = n / 4;
#if defined(__ARM_FP) && (__ARM_FP & 4)
    const float magic = 0x1.8p23f;
    uint32_t a, b, c, d;
    if (fours)
        __asm__ volatile("1:\n" MMOE_ROUND_FOUR
                         "pkhbt %[a], %[a], %[c], lsl #16\n"
                         "pkhbt %[b], %[b], %[d], lsl #16\n"
                         "strd %[a], %[b], [%[words]]\n"
                         "add %[words], %[words], %[step]\n"
                         "subs %[fours], %[fours], #1\n"
                         "bne 1b\n"
                         : [x] "+r"(x), [words] "+r"(words), [fours] "+r"(fours), [a] "=&r"(a), [b] "=&r"(b), [c] "=&r"(c),
                           [d] "=&r"(d)
                         : [inverse] "t"(inverse), [magic] "t"(magic), [step] "r"(step)
                         : "s0", "s1", "s2", "s3", "cc", "memory");
#else
    for (; fours; fours--, x += 4, words += step / 4) {
        words[0] = mmoe_round_pair(x[0] * inverse, x[2] * inverse);
        words[1] = mmoe_round_pair(x[1] * inverse, x[3] * inverse);
    }
#endif
    n %= 4;
    if (n == 0) return;
    words[0] = mmoe_round_pair(x[0] * inverse, n > 2 ? x[2] * inverse : 0.0f);
    words[1] = mmoe_round_pair(n > 1 ? x[1] * inverse : 0.0f, 0.0f);
}

#endif
