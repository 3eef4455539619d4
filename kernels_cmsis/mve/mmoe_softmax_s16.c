/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_exp.h"

#if __ARM_FEATURE_MVE & 2

#define mmoe_softmax_s16 softmax_scalar
static float softmax_scalar(mmoe_word *z, uint32_t n, float factor, const float *key_scale, const float *value_scale,
                            int16_t *b);
#include "../reference/mmoe_softmax_s16.c"
#undef mmoe_softmax_s16

/* z = f32(z) * (factor * key_scale); returns the largest. n >= 1 */
static inline float scale_scores(mmoe_word *z, uint32_t n, float factor, const float *key_scale) {
    uint32_t largest = 0xFF800000u, factor_bits = mmoe_bits(factor);
    __asm__ volatile("vdup.32 q2, %[largest]\n"
                     "dlstp.32 lr, %[n]\n"
                     "1:\n"
                     "vldrw.32 q0, [%[z]]\n"
                     "vldrw.32 q1, [%[scale]], #16\n"
                     "vcvt.f32.s32 q0, q0\n"
                     "vmul.f32 q1, q1, %[factor]\n"
                     "vmul.f32 q0, q0, q1\n"
                     "vmaxnm.f32 q2, q2, q0\n"
                     "vstrw.32 q0, [%[z]], #16\n"
                     "letp lr, 1b\n"
                     "vmaxnmv.f32 %[largest], q2\n"
                     : [largest] "+r"(largest), [z] "+l"(z), [scale] "+l"(key_scale)
                     : [n] "r"(n), [factor] "r"(factor_bits)
                     : "q0", "q1", "q2", "lr", "cc", "memory");
    return mmoe_float(largest);
}

/* e = exp(z - largest), z = e * value_scale; out[0..3] the lanes of the sum of e, out[4..7] of the largest z */
static MMOE_NAKED void weigh(MMOE_UNUSED mmoe_word *z, MMOE_UNUSED const float *value_scale, MMOE_UNUSED uint32_t n_largest[2],
                             MMOE_UNUSED float out[8]) {
    __asm__("push {r3-r11, lr}\n"
            "vpush {d8-d15}\n"
            "ldrd lr, r2, [r2]\n" MMOE_EXP_CONSTANTS
            "vmov.i32 q4, #0\n"
            "vmov.i32 q5, #0\n"
            "dlstp.32 lr, lr\n"
            "1:\n" MMOE_WEIGH_FOUR
            "letp lr, 1b\n"
            "ldr r3, [sp, #64]\n"
            "vstrw.32 q4, [r3]\n"
            "vstrw.32 q5, [r3, #16]\n"
            "vpop {d8-d15}\n"
            "pop {r3-r11, pc}\n");
}

static inline void round_weights(const mmoe_word *z, uint32_t n, float inverse, int16_t *b) {
    uint32_t inverse_bits = mmoe_bits(inverse), magic = 0x4B400000u;
    __asm__ volatile("dlstp.32 lr, %[n]\n"
                     "1:\n"
                     "vldrw.32 q0, [%[z]], #16\n"
                     "vmul.f32 q0, q0, %[inverse]\n"
                     "vadd.f32 q0, q0, %[magic]\n"
                     "vstrh.32 q0, [%[b]], #8\n"
                     "letp lr, 1b\n"
                     : [z] "+l"(z), [b] "+l"(b)
                     : [n] "r"(n), [inverse] "r"(inverse_bits), [magic] "r"(magic)
                     : "q0", "lr", "cc", "memory");
}

float mmoe_softmax_s16(mmoe_word *z, uint32_t n, float factor, const float *key_scale, const float *value_scale,
                       int16_t *b) {
    /* Key scales are 0 or at least 2^-71: the product with a factor above this is normal or 0. */
    if (!(factor >= 0x1.0p-55f || factor == 0.0f)) return softmax_scalar(z, n, factor, key_scale, value_scale, b);
    float lanes[8], largest = scale_scores(z, n, factor, key_scale);
    uint32_t n_largest[2] = {n, mmoe_bits(largest)};
    weigh(z, value_scale, n_largest, lanes);
    float m = lanes[4];
    for (uint32_t i = 5; i < 8; i++) m = lanes[i] > m ? lanes[i] : m;
    memset(b, 0, MMOE_PAD(n, 16u) * sizeof *b);
    if (m < MMOE_TINY) return 0.0f;
    const float k = mmoe_weight_limit(n);
    round_weights(z, n, k / m, b);
    return (m / k) / ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3]));
}

#else
#include "../reference/mmoe_softmax_s16.c"
#endif
