/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_dsp.h"

#if defined(__ARM_FP) && (__ARM_FP & 4)

void mmoe_scale_sums(mmoe_word *y, uint32_t rows, float scale, const float *row_scales) {
    for (; rows >= 4; rows -= 4) {
        __asm__ volatile("vldmia %[y], {s0-s3}\n"
                         "vldmia %[w]!, {s4-s7}\n"
                         "vcvt.f32.s32 s0, s0\n"
                         "vcvt.f32.s32 s1, s1\n"
                         "vcvt.f32.s32 s2, s2\n"
                         "vcvt.f32.s32 s3, s3\n"
                         "vmul.f32 s4, s4, %[scale]\n"
                         "vmul.f32 s5, s5, %[scale]\n"
                         "vmul.f32 s6, s6, %[scale]\n"
                         "vmul.f32 s7, s7, %[scale]\n"
                         "vmul.f32 s0, s0, s4\n"
                         "vmul.f32 s1, s1, s5\n"
                         "vmul.f32 s2, s2, s6\n"
                         "vmul.f32 s3, s3, s7\n"
                         "vstmia %[y]!, {s0-s3}\n"
                         : [y] "+r"(y), [w] "+r"(row_scales)
                         : [scale] "t"(scale)
                         : "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "memory");
    }
    for (uint32_t i = 0; i < rows; i++) y[i].f = (float)y[i].i * mmoe_scalar(scale * row_scales[i]);
}

#else
#include "../reference/mmoe_scale_sums.c"
#endif
