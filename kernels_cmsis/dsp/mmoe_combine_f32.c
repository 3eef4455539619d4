/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_dsp.h"

#if defined(__ARM_FP) && (__ARM_FP & 4)

#define EACH(op) op("0", "8") op("1", "9") op("2", "10") op("3", "11") op("4", "12") op("5", "13") op("6", "14") op("7", "15")
#define TIMES_GATE(o, x) "vmul.f32 s" x ", s" x ", s16\n"
#define ADD(o, x) "vadd.f32 s" o ", s" o ", s" x "\n"

/* Eight elements: s0..s7 are the sum so far. count >= 1 */
static inline void combine_eight(const float *sum, const float *outputs, uint32_t stride, const float *gate, uint32_t count,
                                 float *x) {
    __asm__ volatile("vldmia %[sum], {s0-s7}\n"
                     "1:\n"
                     "vldmia %[gate]!, {s16}\n"
                     "vldmia %[outputs], {s8-s15}\n"
                     "add %[outputs], %[outputs], %[stride]\n" EACH(TIMES_GATE) EACH(ADD)
                     "subs %[count], %[count], #1\n"
                     "bne 1b\n"
                     "vldmia %[x], {s8-s15}\n" EACH(ADD)
                     "vstmia %[x], {s0-s7}\n"
                     : [outputs] "+r"(outputs), [gate] "+r"(gate), [count] "+r"(count)
                     : [sum] "r"(sum), [stride] "r"(4 * stride), [x] "r"(x)
                     : MMOE_S0_S15, "s16", "cc", "memory");
}

void mmoe_combine_f32(const float *sum, const float *outputs, uint32_t stride, const float *gate, uint32_t count, uint32_t n,
                      float *x) {
    const uint32_t whole = count ? n & ~7u : 0;
    for (uint32_t i = 0; i < whole; i += 8) combine_eight(sum + i, outputs + i, stride, gate, count, x + i);
    for (uint32_t i = whole; i < n; i++) {
        float o = sum[i];
        for (uint32_t k = 0; k < count; k++) o = o + gate[k] * outputs[k * stride + i];
        x[i] = x[i] + o;
    }
}

#else
#include "../reference/mmoe_combine_f32.c"
#endif
