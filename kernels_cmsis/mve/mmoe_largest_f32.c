/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_mve.h"

float mmoe_largest_f32(const float *x, uint32_t n) {
    uint32_t largest = 0; /* magnitudes order as their bits do; infinity and NaN come last */
    if (n == 0) return 0.0f;
    __asm__ volatile("dlstp.32 lr, %[n]\n"
                     "1:\n"
                     "vldrw.32 q0, [%[x]], #16\n"
                     "vbic.i32 q0, #0x80000000\n"
                     "vmaxv.u32 %[largest], q0\n"
                     "letp lr, 1b\n"
                     : [largest] "+r"(largest), [x] "+l"(x)
                     : [n] "r"(n)
                     : "q0", "lr", "cc", "memory");
    return mmoe_float(largest);
}
