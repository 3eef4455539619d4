/* SPDX-License-Identifier: Apache-2.0
 *
 * The time of a flash, for emulated boards: a read through the storage driver behind it is over when MMOE_FLASH_LATENCY_NS and
 * its bytes at MMOE_FLASH_BYTES_PER_S have passed in the board's ticks. MMOE_FLASH_BLOCKS 1: the core waits for it, as with a
 * driver without DMA; 0: the core goes on. Where the driver behind it copies with the core, the copy stands for a DMA engine
 * that the machine lacks: the ticks stand still meanwhile. */
#include "storage.h"

#undef mmoe_port_read_start
#undef mmoe_port_read_done
#undef mmoe_port_read_progress
#undef mmoe_port_read_ended
#undef mmoe_port_ticks

mmoe_status mmoe_port_read_start(void *dst, uint32_t offset, uint32_t length);
int mmoe_port_read_done(void);
uint32_t mmoe_port_read_progress(void);
uint64_t mmoe_port_read_ended(void);
uint64_t mmoe_port_ticks(void);

/* Constants, so that no division is left to run time */
#define LATENCY_TICKS ((uint64_t)MMOE_FLASH_LATENCY_NS * MMOE_TICK_HZ / 1000000000u)
#define TICKS_A_BYTE (((uint64_t)MMOE_TICK_HZ << 16) / MMOE_FLASH_BYTES_PER_S) /* in 1/65536 */
#define BYTES_A_TICK (((uint64_t)MMOE_FLASH_BYTES_PER_S << 16) / MMOE_TICK_HZ)

static uint64_t due, first, stood_still;
static uint32_t bytes;

uint64_t mmoe_port_ticks(void) { return mmoe_storage_ticks() - stood_still; }

mmoe_status mmoe_port_read_start(void *dst, uint32_t offset, uint32_t length) {
    const uint64_t start = mmoe_storage_ticks();
    first = start - stood_still + LATENCY_TICKS;
    const mmoe_status status = mmoe_storage_read_start(dst, offset, length);
    stood_still += mmoe_storage_ticks() - start;
    due = first + (length * TICKS_A_BYTE >> 16) + 1;
    bytes = length;
    while (MMOE_FLASH_BLOCKS && status == MMOE_OK && mmoe_port_ticks() < due) {}
    return status;
}

int mmoe_port_read_done(void) { return mmoe_port_ticks() < due ? 0 : mmoe_storage_read_done(); }

uint32_t mmoe_port_read_progress(void) {
    const uint64_t now = mmoe_port_ticks();
    const uint64_t arrived = now > first ? (now - first) * BYTES_A_TICK >> 16 : 0;
    return mmoe_storage_read_done() != 1 ? 0 : arrived < bytes ? (uint32_t)arrived : bytes;
}

uint64_t mmoe_port_read_ended(void) { return due; }
