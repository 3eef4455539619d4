/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_private.h"

float mmoe_gate_f32(const float *x, const float *w, uint32_t n) {
    float gate;
    mmoe_dots_f32(x, w, n, 1, &gate);
    mmoe_sigmoid_f32(&gate, 1);
    return gate;
}
