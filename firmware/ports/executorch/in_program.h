/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MMOE_IN_PROGRAM_H
#define MMOE_IN_PROGRAM_H

#include <stddef.h>

#include "mmoe_runtime.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The experts of one layer as a constant of the program, one page after the other */
typedef struct {
    const uint8_t *pages;
    size_t page_bytes;
    mmoe_page_matrix gate_up, down; /* the same in every page */
} mmoe_in_program;

/* x (rows, hidden) += MoE of n (rows, hidden), the normed x. moe->layer is 0, next is not looked at; scratch:
 * mmoe_moe_call_bytes, 16-byte aligned. The same bits whatever the number of rows. MMOE_E_ARGUMENT: another layer, or more
 * experts a token than MMOE_MAX_TOP_K. */
mmoe_status mmoe_moe_in_program(const mmoe_in_program *at, const mmoe_moe *moe, uint32_t rows, const float *n, float *x, void *scratch);
size_t mmoe_moe_call_bytes(const mmoe_moe *moe, uint32_t rows);

/* What a call of mmoe_op_moe takes from that scratch: n, which it uses up, and the same quantized; then its own scratch */
typedef struct {
    float *n;
    mmoe_vector *q;
    void *scratch;
} mmoe_moe_call;
mmoe_status mmoe_moe_prepare(const mmoe_moe *moe, uint32_t rows, const float *n, void *scratch, mmoe_moe_call *call);

#ifdef __cplusplus
}
#endif
#endif
