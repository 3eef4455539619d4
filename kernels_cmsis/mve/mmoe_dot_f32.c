/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_mve.h"

#if __ARM_FEATURE_MVE & 2

#define mmoe_dot_f32 dot_scalar
static float dot_scalar(const float *x, const float *y, uint32_t n);
#include "../reference/mmoe_dot_f32.c"
#undef mmoe_dot_f32

/* The four lanes of the written order are those of a vector. Where MVE rounded a subnormal operand or result to zero it
 * leaves a mark in the FPSCR (IDC or UFC); only then the sum is made again without it. */
float mmoe_dot_f32(const float *x, const float *y, uint32_t n) {
    float lanes[4], *to = lanes;
    const float *const x0 = x, *const y0 = y;
    uint32_t flags;
    if (n == 0) return 0.0f;
    __asm__ volatile("vmrs %[flags], fpscr\n"
                     "bic %[flags], %[flags], #0x88\n"
                     "vmsr fpscr, %[flags]\n"
                     "vmov.i32 q2, #0\n"
                     "wls lr, %[quads], 2f\n"
                     "1:\n"
                     "vldrw.32 q0, [%[x]], #16\n"
                     "vldrw.32 q1, [%[y]], #16\n"
                     "vmul.f32 q0, q0, q1\n"
                     "vldrw.32 q3, [%[x]], #16\n"
                     "vldrw.32 q1, [%[y]], #16\n"
                     "vadd.f32 q2, q2, q0\n"
                     "vmul.f32 q3, q3, q1\n"
                     "vldrw.32 q0, [%[x]], #16\n"
                     "vldrw.32 q1, [%[y]], #16\n"
                     "vadd.f32 q2, q2, q3\n"
                     "vmul.f32 q0, q0, q1\n"
                     "vldrw.32 q3, [%[x]], #16\n"
                     "vldrw.32 q1, [%[y]], #16\n"
                     "vadd.f32 q2, q2, q0\n"
                     "vmul.f32 q3, q3, q1\n"
                     "vadd.f32 q2, q2, q3\n"
                     "le lr, 1b\n"
                     "2:\n"
                     "wlstp.32 lr, %[rest], 4f\n"
                     "3:\n"
                     "vldrw.32 q0, [%[x]], #16\n"
                     "vldrw.32 q1, [%[y]], #16\n"
                     "vmul.f32 q0, q0, q1\n"
                     "vadd.f32 q2, q2, q0\n"
                     "letp lr, 3b\n"
                     "4:\n"
                     "vmrs %[flags], fpscr\n"
                     "vstrw.32 q2, [%[to]]\n"
                     : [x] "+l"(x), [y] "+l"(y), [flags] "=&r"(flags), [to] "+l"(to)
                     : [quads] "r"(n / 16), [rest] "r"(n % 16)
                     : "q0", "q1", "q2", "q3", "lr", "cc", "memory");
    if (flags & 0x88) return dot_scalar(x0, y0, n);
    return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
}

#else
#include "../reference/mmoe_dot_f32.c"
#endif
