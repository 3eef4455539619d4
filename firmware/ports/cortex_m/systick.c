/* SPDX-License-Identifier: Apache-2.0
 *
 * 64-bit ticks from the 24-bit SysTick, whose interrupt counts the wraps. MMOE_TICK_HZ: what it counts. */
#include "cortex_m.h"
#include "storage.h"

enum { SYST_CSR_ENABLE = 1, SYST_CSR_TICKINT = 2, SYST_CSR_CORE_CLOCK = 4, PERIOD = 1 << 24 };

static volatile uint32_t wraps;

void SysTick_Handler(void) { wraps++; }

void systick_start(void) {
    SYST_RVR = PERIOD - 1;
    SYST_CVR = 0;
    SYST_CSR = SYST_CSR_ENABLE | SYST_CSR_TICKINT | SYST_CSR_CORE_CLOCK;
}

uint64_t mmoe_port_ticks(void) {
    uint32_t whole, part, pending;
    do {
        whole = wraps;
        part = (0u - SYST_CVR) & (PERIOD - 1); /* counts down; 0 is the first tick of a period */
        pending = SCB_ICSR & SCB_ICSR_PENDSTSET;
    } while (whole != wraps);
    if (pending && part < PERIOD / 2) whole++; /* wrapped, but the interrupt is still to come */
    return (uint64_t)whole << 24 | part;
}

uint32_t mmoe_port_tick_hz(void) { return MMOE_TICK_HZ; }
