/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_dsp.h"

static inline uint32_t pack(float low, float high) {
    uint32_t result, a = mmoe_bits(low + 0x1.8p23f), b = mmoe_bits(high + 0x1.8p23f);
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(result) : "r"(a), "r"(b));
    return result;
}

mmoe_status mmoe_quantize_s8(const float *x, uint32_t n, mmoe_vector *vector) {
    uint32_t *words = (uint32_t *)(void *)(vector + 1), *end = words + MMOE_PAD(n, 32) / 2;
    const float m = mmoe_largest_f32(x, n);
    if (mmoe_bits(m) >= MMOE_LIMIT_BITS) return MMOE_E_NUMERIC;
    if (m < MMOE_TINY) {
        vector->scale = 0.0f;
        memset(words, 0, 2 * MMOE_PAD(n, 32));
        return MMOE_OK;
    }
    vector->scale = m / 127.0f;
    const float inverse = 127.0f / m;
#if defined(__ARM_FP) && (__ARM_FP & 4)
    const float magic = 0x1.8p23f;
    uint32_t quads = n / 4;
    if (quads) {
        uint32_t a, b, c, d;
        __asm__ volatile("1:\n"
                         "vldmia %[x]!, {s0-s3}\n"
                         "vmul.f32 s0, s0, %[inverse]\n"
                         "vmul.f32 s1, s1, %[inverse]\n"
                         "vmul.f32 s2, s2, %[inverse]\n"
                         "vmul.f32 s3, s3, %[inverse]\n"
                         "vadd.f32 s0, s0, %[magic]\n"
                         "vadd.f32 s1, s1, %[magic]\n"
                         "vadd.f32 s2, s2, %[magic]\n"
                         "vadd.f32 s3, s3, %[magic]\n"
                         "vmov %[a], %[b], s0, s1\n"
                         "vmov %[c], %[d], s2, s3\n"
                         "pkhbt %[a], %[a], %[c], lsl #16\n"
                         "pkhbt %[b], %[b], %[d], lsl #16\n"
                         "strd %[a], %[b], [%[words]], #8\n"
                         "subs %[quads], %[quads], #1\n"
                         "bne 1b\n"
                         : [x] "+r"(x), [words] "+r"(words), [quads] "+r"(quads), [a] "=&r"(a), [b] "=&r"(b),
                           [c] "=&r"(c), [d] "=&r"(d)
                         : [inverse] "t"(inverse), [magic] "t"(magic)
                         : "s0", "s1", "s2", "s3", "cc", "memory");
    }
    n %= 4;
#endif
    for (; n >= 4; n -= 4, x += 4, words += 2) {
        words[0] = pack(x[0] * inverse, x[2] * inverse);
        words[1] = pack(x[1] * inverse, x[3] * inverse);
    }
    if (n) {
        words[0] = pack(x[0] * inverse, n > 2 ? x[2] * inverse : 0.0f);
        words[1] = pack(n > 1 ? x[1] * inverse : 0.0f, 0.0f);
        words += 2;
    }
    for (; words < end; words++) *words = 0;
    return MMOE_OK;
}
