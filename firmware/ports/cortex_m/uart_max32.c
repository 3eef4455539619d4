/* SPDX-License-Identifier: Apache-2.0
 *
 * UART of the MAX32 and MAX78 families, revision B (MAX78000 User Guide, UART registers). Its clock and its pins are
 * MMOE_BOOT_WRITES. MMOE_UART_BASE, MMOE_UART_IRQ, MMOE_UART_BAUD, MMOE_UART_PCLK_HZ. */
#include "cortex_m.h"

#define CTRL REGISTER(MMOE_UART_BASE + 0x00)
#define STATUS REGISTER(MMOE_UART_BASE + 0x04)
#define INT_EN REGISTER(MMOE_UART_BASE + 0x08)
#define INT_FL REGISTER(MMOE_UART_BASE + 0x0C)
#define CLKDIV REGISTER(MMOE_UART_BASE + 0x10)
#define FIFO REGISTER(MMOE_UART_BASE + 0x20)
enum { CTRL_RX_THRESHOLD_1 = 1, CTRL_8_BITS = 3 << 10, CTRL_BCLKEN = 1 << 15, CTRL_BCLKRDY = 1 << 19 };
enum { STATUS_RX_EMPTY = 1 << 4, STATUS_TX_FULL = 1 << 7, INT_RX_OVERRUN = 1 << 3, INT_RX_THRESHOLD = 1 << 4 };

void uart_start(void) {
    CTRL = CTRL_RX_THRESHOLD_1 | CTRL_8_BITS;
    CLKDIV = (MMOE_UART_PCLK_HZ + MMOE_UART_BAUD / 2) / MMOE_UART_BAUD;
    CTRL |= CTRL_BCLKEN;
    while (!(CTRL & CTRL_BCLKRDY)) {}
    INT_EN = INT_RX_THRESHOLD | INT_RX_OVERRUN;
    nvic_enable(MMOE_UART_IRQ);
}

void uart_irq_handler(void) {
    while (!(STATUS & STATUS_RX_EMPTY)) uart_received((uint8_t)FIFO);
    INT_FL = INT_RX_THRESHOLD | INT_RX_OVERRUN; /* written ones clear */
}

void uart_send(uint8_t byte) {
    while (STATUS & STATUS_TX_FULL) {}
    FIFO = byte;
}
