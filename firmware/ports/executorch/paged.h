/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MMOE_PAGED_H
#define MMOE_PAGED_H

#include "mmoe_runtime.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The paging plan as `mmoe-embed export --expert-slots N` writes it, little-endian; behind it lie expert_place (places), the
 * first slots of layers (bounds, u16), padding to a multiple of 16, and the expert image up to its first page (head_bytes). */
typedef struct {
    char magic[4]; /* "MMXP" */
    uint32_t version; /* 2 */
    uint32_t crc;     /* CRC-32 of all that follows */
    uint8_t model_id[32];
    uint32_t layers, experts, top_k, hidden, expert_bytes, slots, policy, prefetch;
    uint32_t places, bounds;         /* entries of the two arrays, 0: none */
    uint32_t head_bytes, page_bytes; /* of the image: before the first page, and from one page to the next */
    mmoe_page_matrix gate_up, down;
} mmoe_paged_plan;

/* One paged model at a time in a process, as the firmware's pager has one. Every call is made under one lock.
 * plan: 4-byte aligned, `size` bytes with what lies behind it; copied. MMOE_E_ARGUMENT: it is damaged, or there is no memory. */
mmoe_status mmoe_paged_open(const void *plan, uint32_t size);
void mmoe_paged_close(void);
/* 1: the model with this plan is open. */
int mmoe_paged_is_open(const void *plan, uint32_t size);

/* x (rows, hidden) += MoE of n (rows, hidden), the normed x; moe->layer is among those with experts. Scratch: as
 * mmoe_moe_call_bytes. */
mmoe_status mmoe_paged_run(const mmoe_moe *moe, uint32_t rows, const float *n, float *x, void *scratch);

typedef struct {
    uint32_t hits, misses, prefetched;
    uint64_t bytes_loaded;
} mmoe_paged_counts;
mmoe_paged_counts mmoe_paged_count(void); /* since it was opened; zeros where none is open */

/* What the delegate provides: reads of bytes of page `number`, as mmoe_port_read_start, _done and _ended. */
mmoe_status mmoe_paged_read_start(uint32_t number, uint32_t offset, void *to, uint32_t length);
int mmoe_paged_read_done(void);
uint64_t mmoe_paged_read_ended(void);

#ifdef __cplusplus
}
#endif
#endif
