/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_mve.h"

#define SEE                            \
    "vldrw.32 q0, [%[x]], #16\n"       \
    "vbic.i32 q0, #0x80000000\n"       \
    "vmaxv.u32 %[largest], q0\n"

float mmoe_largest_f32(const float *x, uint32_t n) {
    uint32_t largest = 0; /* magnitudes order as their bits do; infinity and NaN come last */
    __asm__ volatile("wls lr, %[whole], 2f\n"
                     "1:\n" SEE SEE SEE SEE
                     "le lr, 1b\n"
                     "2:\n"
                     "wlstp.32 lr, %[rest], 4f\n"
                     "3:\n" SEE
                     "letp lr, 3b\n"
                     "4:\n"
                     : [largest] "+r"(largest), [x] "+l"(x)
                     : [whole] "r"(n / 16), [rest] "r"(n % 16)
                     : "q0", "lr", "cc", "memory");
    return mmoe_float(largest);
}
