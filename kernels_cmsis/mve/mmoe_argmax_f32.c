/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_mve.h"

/* Integers order as floats do once the magnitude bits of the negative ones are turned over. */
uint32_t mmoe_argmax_f32(const float *x, uint32_t n) {
    int32_t key = INT32_MIN, bits;
    const float *p = x;
    __asm__ volatile("dlstp.32 lr, %[n]\n"
                     "1:\n"
                     "vldrw.32 q0, [%[p]], #16\n"
                     "vshr.s32 q1, q0, #31\n"
                     "vbic.i32 q1, #0x80000000\n"
                     "veor q0, q0, q1\n"
                     "vmaxv.s32 %[key], q0\n"
                     "letp lr, 1b\n"
                     : [key] "+r"(key), [p] "+l"(p)
                     : [n] "r"(n)
                     : "q0", "q1", "lr", "cc", "memory");
    uint32_t i = 0;
    if (key > 0 && key <= 0x7F800000) { /* zeros of either sign are equal, and NaN is no number: the plain loop */
        bits = key;
        for (; i + 4 <= n; i += 4)
            if (vcmpeqq_n_s32(vldrwq_s32((const int32_t *)(const void *)(x + i)), bits)) break;
        while (mmoe_bits(x[i]) != (uint32_t)bits) i++;
        return i;
    }
    uint32_t best = 0;
    for (i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return best;
}
