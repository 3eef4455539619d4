/* SPDX-License-Identifier: Apache-2.0
 *
 * UART of the nRF51, without DMA (nRF51 Series Reference Manual v3.0, chapter 28). Pins are MMOE_BOOT_WRITES.
 * MMOE_UART_BASE, MMOE_UART_IRQ, MMOE_UART_BAUD. */
#include "cortex_m.h"

#define UART(offset) REGISTER(MMOE_UART_BASE + (offset))
enum { TASK_START_RX = 0x000, TASK_START_TX = 0x008, EVENT_RX_READY = 0x108, EVENT_TX_READY = 0x11C };
enum { INTENSET = 0x304, ENABLE = 0x500, RXD = 0x518, TXD = 0x51C, BAUDRATE = 0x524 };
enum { INT_RX_READY = 1 << 2, ENABLE_UART = 4, BAUDRATE_115200 = 0x01D7E000 };

_Static_assert(MMOE_UART_BAUD == 115200, "nRF51 UART: 115200 baud");

void uart_start(void) {
    UART(BAUDRATE) = BAUDRATE_115200;
    UART(ENABLE) = ENABLE_UART;
    UART(INTENSET) = INT_RX_READY;
    UART(TASK_START_RX) = 1;
    UART(TASK_START_TX) = 1;
    nvic_enable(MMOE_UART_IRQ);
}

void uart_irq_handler(void) {
    while (UART(EVENT_RX_READY)) {
        UART(EVENT_RX_READY) = 0;
        uart_received((uint8_t)UART(RXD));
    }
}

void uart_send(uint8_t byte) {
    UART(EVENT_TX_READY) = 0;
    UART(TXD) = byte;
    while (!UART(EVENT_TX_READY)) {}
}
