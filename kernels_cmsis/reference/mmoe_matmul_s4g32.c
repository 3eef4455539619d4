/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_private.h"

void mmoe_matmul_s4g32(const mmoe_matrix *w, const mmoe_vector *const *x, float *const *y, uint32_t count, void *scratch) {
    (void)scratch;
    for (uint32_t i = 0; i < count; i++) mmoe_matvec_s4g32(w, x[i], y[i]);
}
