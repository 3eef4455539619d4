/* SPDX-License-Identifier: Apache-2.0
 *
 * Nordic UARTE, a UART that moves its bytes by DMA: one byte at a time here. The including file gives the offsets of its
 * registers, which differ between families, and END_RX_BIT, the receive event's bit in INTENSET. Pins and their PSEL
 * registers are MMOE_BOOT_WRITES. Baud rate: the values of the manual's table, since the divider's rule is not in it.
 * MMOE_UART_BASE, MMOE_UART_IRQ, MMOE_UART_BAUD. */
#ifndef MMOE_UART_UARTE_H
#define MMOE_UART_UARTE_H

#include "cortex_m.h"

#define UARTE(offset) REGISTER(MMOE_UART_BASE + (offset))
enum { SHORTS = 0x200, INTENSET = 0x304, ENABLE = 0x500, BAUDRATE = 0x524 };
enum { ENABLE_UARTE = 8, SHORT_END_RX_START_RX = 1 << 5 };

_Static_assert(MMOE_UART_BAUD == 115200 || MMOE_UART_BAUD == 1000000, "UARTE: 115200 or 1000000 baud");
enum { BAUDRATE_VALUE = MMOE_UART_BAUD == 115200 ? 0x01D60000 : 0x10000000 };

static volatile uint8_t incoming[2]; /* the DMA fills one while the interrupt takes the other */
static volatile uint8_t outgoing;
static uint32_t filled;

static uint32_t address_of(const volatile void *p) { return (uint32_t)(uintptr_t)p; }

void uart_start(void) {
    UARTE(BAUDRATE) = BAUDRATE_VALUE;
    UARTE(ENABLE) = ENABLE_UARTE;
    UARTE(RX_MAXCNT) = 1;
    UARTE(TX_MAXCNT) = 1;
    UARTE(RX_PTR) = address_of(&incoming[0]);
    UARTE(SHORTS) = SHORT_END_RX_START_RX;
    UARTE(INTENSET) = 1u << END_RX_BIT;
    UARTE(EVENT_RX_STARTED) = 0;
    UARTE(TASK_START_RX) = 1;
    while (!UARTE(EVENT_RX_STARTED)) {}
    UARTE(RX_PTR) = address_of(&incoming[1]); /* taken at the next start, which the shortcut makes */
    nvic_enable(MMOE_UART_IRQ);
}

void uart_irq_handler(void) {
    if (!UARTE(EVENT_END_RX)) return;
    UARTE(EVENT_END_RX) = 0;
    const uint8_t byte = incoming[filled];
    UARTE(RX_PTR) = address_of(&incoming[filled]);
    filled ^= 1;
    uart_received(byte);
}

void uart_send(uint8_t byte) {
    outgoing = byte;
    UARTE(EVENT_END_TX) = 0;
    UARTE(TX_PTR) = address_of(&outgoing);
    __asm__ volatile("dsb" ::: "memory");
    UARTE(TASK_START_TX) = 1;
    while (!UARTE(EVENT_END_TX)) {}
}

#endif
