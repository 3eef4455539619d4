/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_private.h"

void mmoe_matvec(const mmoe_matrix *w, const mmoe_vector *x, float *y) {
    if (w->bits == 8)
        mmoe_matvec_s8(w, x, y);
    else
        mmoe_matvec_s4g32(w, x, y);
}
