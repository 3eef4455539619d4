/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_private.h"

void mmoe_matmul(const mmoe_matrix *w, const mmoe_vector *const *x, float *const *y, uint32_t count, void *scratch) {
    if (count == 1)
        mmoe_matvec(w, x[0], y[0]);
    else if (w->bits == 8)
        mmoe_matmul_s8(w, x, y, count, scratch);
    else
        mmoe_matmul_s4g32(w, x, y, count, scratch);
}
