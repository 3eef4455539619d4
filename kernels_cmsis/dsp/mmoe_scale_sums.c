/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_dsp.h"

#if defined(__ARM_FP) && (__ARM_FP & 4)

void mmoe_scale_sums(mmoe_word *y, uint32_t rows, float scale, const float *row_scales) {
    uint32_t eights = rows / 8;
#define EACH(op) op("0", "8") op("1", "9") op("2", "10") op("3", "11") op("4", "12") op("5", "13") op("6", "14") op("7", "15")
#define CONVERT(y, w) "vcvt.f32.s32 s" y ", s" y "\n"
#define SCALE(y, w) "vmul.f32 s" w ", s" w ", %[scale]\n"
#define MULTIPLY(y, w) "vmul.f32 s" y ", s" y ", s" w "\n"
    if (eights)
        __asm__ volatile("1:\n"
                         "vldmia %[y], {s0-s7}\n"
                         "vldmia %[w]!, {s8-s15}\n" EACH(CONVERT) EACH(SCALE) EACH(MULTIPLY)
                         "subs %[eights], %[eights], #1\n"
                         "vstmia %[y]!, {s0-s7}\n"
                         "bne 1b\n"
                         : [y] "+r"(y), [w] "+r"(row_scales), [eights] "+r"(eights)
                         : [scale] "t"(scale)
                         : MMOE_S0_S15, "cc", "memory");
    rows %= 8;
    for (uint32_t i = 0; i < rows; i++) y[i].f = (float)y[i].i * mmoe_scalar(scale * row_scales[i]);
}

#else
#include "../reference/mmoe_scale_sums.c"
#endif
