/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_mve.h"

#if __ARM_FEATURE_MVE & 2

void mmoe_embed_s8(const mmoe_matrix *w, uint32_t row, float *x) {
    const uint32_t columns = w->columns, scale = mmoe_bits(w->row_scales[row]); /* 0 or at least 2^-64: no subnormals */
    const int8_t *p = w->weights;
    p += row / 4 * 4 * MMOE_PAD(columns, 16u) + row % 4 * 16;
    for (uint32_t i = 0; i < columns; i += 16, p += 64) {
        const uint32_t count = columns - i < 16 ? columns - i : 16;
        const int8_t *from = p;
        __asm__ volatile("dlstp.32 lr, %[n]\n"
                         "1:\n"
                         "vldrb.s32 q0, [%[from]], #4\n"
                         "vcvt.f32.s32 q0, q0\n"
                         "vmul.f32 q0, q0, %[scale]\n"
                         "vstrw.32 q0, [%[x]], #16\n"
                         "letp lr, 1b\n"
                         : [from] "+l"(from), [x] "+l"(x)
                         : [n] "r"(count), [scale] "r"(scale)
                         : "q0", "lr", "cc", "memory");
    }
}

#else
#include "../reference/mmoe_embed_s8.c"
#endif
