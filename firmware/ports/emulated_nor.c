/* SPDX-License-Identifier: Apache-2.0
 *
 * A NOR flash for emulated boards: memory of the machine that keeps to a flash's rules, and that the emulator keeps in a file.
 * MMOE_NOR_BASE, MMOE_NOR_BYTES, MMOE_NOR_ERASE_BYTES, MMOE_NOR_WRITE_BYTES. A read is a copy. */
#include <string.h>

#include "storage.h"

static uint8_t *const flash = (uint8_t *)MMOE_NOR_BASE;
static uint64_t ended;

/* Whether a part lies in the flash, its ends at multiples of unit */
static int is_part(uint32_t offset, uint32_t length, uint32_t unit) {
    return offset % unit == 0 && length % unit == 0 && offset <= MMOE_NOR_BYTES && length <= MMOE_NOR_BYTES - offset;
}

mmoe_status mmoe_port_read_start(void *dst, uint32_t offset, uint32_t length) {
    if (!is_part(offset, length, 1)) return MMOE_E_PAGE_READ;
    memcpy(dst, flash + offset, length);
    ended = mmoe_port_ticks();
    return MMOE_OK;
}

int mmoe_port_read_done(void) { return 1; }
uint32_t mmoe_port_read_progress(void) { return 0; }
uint64_t mmoe_port_read_ended(void) { return ended; }

#ifdef MMOE_UPDATES
mmoe_status mmoe_port_flash_erase(uint32_t offset, uint32_t length) {
    if (!is_part(offset, length, MMOE_NOR_ERASE_BYTES)) return MMOE_E_ARGUMENT;
    memset(flash + offset, 0xFF, length);
    return MMOE_OK;
}

mmoe_status mmoe_port_flash_program(uint32_t offset, const void *data, uint32_t length) {
    const uint8_t *from = data;
    if (!is_part(offset, length, MMOE_NOR_WRITE_BYTES)) return MMOE_E_ARGUMENT;
    for (uint32_t i = 0; i < length; i++) flash[offset + i] &= from[i];
    return MMOE_OK;
}
#endif
