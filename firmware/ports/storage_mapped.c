/* SPDX-License-Identifier: Apache-2.0
 *
 * The expert image lies in the address space: a read is a copy. */
#include <string.h>

#include "storage.h"

static uint64_t ended;

mmoe_status mmoe_port_read_start(void *dst, uint32_t offset, uint32_t length) {
    memcpy(dst, mmoe_expert_image + offset, length);
    ended = mmoe_port_ticks();
    return MMOE_OK;
}

int mmoe_port_read_done(void) { return 1; }
uint32_t mmoe_port_read_progress(void) { return 0; }
uint64_t mmoe_port_read_ended(void) { return ended; }
