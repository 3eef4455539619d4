/* SPDX-License-Identifier: Apache-2.0 */
#include "cortex_m.h"
#include "mmoe_runtime.h"

#define RING_BYTES 256u /* a power of two; what comes while a request is computed is a repetition of it */

static volatile uint8_t ring[RING_BYTES];
static volatile uint32_t received, taken; /* received is written by the interrupt alone */

void uart_received(uint8_t byte) {
    if (received - taken < RING_BYTES) ring[received++ % RING_BYTES] = byte; /* else lost: the frame's CRC will tell */
}

static int is_ready(void) { return received != taken; }

int mmoe_port_read_byte(int wait) {
    while (!is_ready()) {
        if (!wait) return -1;
        disable_interrupts(); /* else the byte could come between the question and the sleep */
        if (!is_ready()) wait_for_interrupt();
        enable_interrupts();
    }
    const uint8_t byte = ring[taken % RING_BYTES];
    taken++;
    return byte;
}

void mmoe_port_write(const void *data, uint32_t length) {
    const uint8_t *p = data;
    while (length--) uart_send(*p++);
}
