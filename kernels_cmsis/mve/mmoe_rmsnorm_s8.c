/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_round.h"

#if __ARM_FEATURE_MVE & 2

/* lanes(x_i * x_i) of SPEC.md 3.1 */
static inline float add_squares(const float *x, uint32_t n) {
    float lanes[4], *to = lanes;
#define SQUARE "vldrw.32 q0, [%[x]], #16\n" "vmul.f32 q0, q0, q0\n" "vadd.f32 q1, q1, q0\n"
    __asm__ volatile("vmov.i32 q1, #0\n"
                     "wls lr, %[whole], 2f\n"
                     "1:\n" SQUARE SQUARE SQUARE SQUARE
                     "le lr, 1b\n"
                     "2:\n"
                     "wlstp.32 lr, %[rest], 4f\n"
                     "3:\n" SQUARE
                     "letp lr, 3b\n"
                     "4:\n"
                     "vstrw.32 q1, [%[to]]\n"
                     : [x] "+l"(x), [to] "+l"(to)
                     : [whole] "r"(n / 16), [rest] "r"(n % 16)
                     : "q0", "q1", "lr", "cc", "memory");
    return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
}

/* y = (x * r) * w; returns the bits of the largest magnitude, NaN aside */
static inline uint32_t scale_all(const float *x, const float *w, uint32_t n, float r, float *y) {
    uint32_t r_bits = mmoe_bits(r), largest = 0;
#define SCALE                            \
    "vldrw.32 q0, [%[x]], #16\n"         \
    "vmul.f32 q0, q0, %[r]\n"            \
    "vldrw.32 q1, [%[w]], #16\n"         \
    "vmul.f32 q0, q0, q1\n"              \
    "vmaxnma.f32 q2, q0\n"               \
    "vstrw.32 q0, [%[y]], #16\n"
    __asm__ volatile("vmov.i32 q2, #0\n"
                     "wls lr, %[whole], 2f\n"
                     "1:\n" SCALE SCALE SCALE SCALE
                     "le lr, 1b\n"
                     "2:\n"
                     "wlstp.32 lr, %[rest], 4f\n"
                     "3:\n" SCALE
                     "letp lr, 3b\n"
                     "4:\n"
                     "vmaxnmav.f32 %[largest], q2\n"
                     : [x] "+l"(x), [w] "+l"(w), [y] "+l"(y), [largest] "+r"(largest)
                     : [whole] "r"(n / 16), [rest] "r"(n % 16), [r] "r"(r_bits)
                     : "q0", "q1", "q2", "lr", "cc", "memory");
    return largest;
}

/* Once more without MVE where it rounded something to zero, or a sum overflowed: then there may be NaN. */
mmoe_status mmoe_rmsnorm_s8(const float *x, const float *w, uint32_t n, float eps, float *y, mmoe_vector *q) {
    mmoe_forget_flushes();
    const float mean = add_squares(x, n) / (float)n;
    if (mean < __builtin_inff()) {
        const uint32_t largest = scale_all(x, w, n, 1.0f / mmoe_sqrt_f32(mean + eps), y);
        if (!mmoe_flushed()) return mmoe_round_s8(y, n, largest, q);
    }
    mmoe_rmsnorm_f32(x, w, n, eps, y);
    return mmoe_quantize_s8(y, n, q);
}

#else
#include "../reference/mmoe_rmsnorm_s8.c"
#endif
