/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_private.h"

void mmoe_softmax_f32(float *x, uint32_t n) {
    const float largest = x[mmoe_argmax_f32(x, n)];
    float total[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    for (uint32_t i = 0; i < n; i++) {
        x[i] = mmoe_exp_f32(mmoe_scalar(x[i] - largest));
        total[i % 4] += x[i];
    }
    const float sum = (total[0] + total[1]) + (total[2] + total[3]);
    for (uint32_t i = 0; i < n; i++) x[i] = mmoe_scalar(x[i]) / sum;
}
