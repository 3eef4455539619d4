/* SPDX-License-Identifier: Apache-2.0
 *
 * Counts resets in memory that no start-up code clears, so that the host notices one. */
#include "mmoe_runtime.h"

#define VALID 0x4D4D6F45u

static struct {
    uint32_t valid, count, check;
} boots __attribute__((section(".noinit")));

uint32_t mmoe_port_boot_count(void) {
    static uint8_t counted; /* cleared at every start */
    if (counted) return boots.count;
    counted = 1;
    if (boots.valid != VALID || boots.check != ~boots.count) boots.count = 0;
    boots.count++;
    boots.check = ~boots.count;
    boots.valid = VALID;
    return boots.count;
}
