/* SPDX-License-Identifier: Apache-2.0
 *
 * 16550 with registers 4 bytes apart, as the Synopsys DesignWare UART of the Alif Ensemble has it. Its clock and its pins
 * are MMOE_BOOT_WRITES. MMOE_UART_BASE, MMOE_UART_IRQ, MMOE_UART_BAUD, MMOE_UART_PCLK_HZ. */
#include "cortex_m.h"

#define DATA REGISTER(MMOE_UART_BASE + 0x00) /* divisor, low, while LCR_DLAB */
#define IER REGISTER(MMOE_UART_BASE + 0x04)  /* divisor, high, while LCR_DLAB */
#define IIR REGISTER(MMOE_UART_BASE + 0x08)
#define LCR REGISTER(MMOE_UART_BASE + 0x0C)
#define LSR REGISTER(MMOE_UART_BASE + 0x14)
enum { IER_RX = 1, LCR_8_BITS = 3, LCR_DLAB = 1 << 7, LSR_RX_READY = 1, LSR_TX_EMPTY = 1 << 5 };
enum { DIVISOR = (MMOE_UART_PCLK_HZ + 8 * MMOE_UART_BAUD) / (16 * MMOE_UART_BAUD) };

void uart_start(void) {
    LCR = LCR_8_BITS | LCR_DLAB;
    DATA = DIVISOR & 0xFF;
    IER = DIVISOR >> 8;
    LCR = LCR_8_BITS;
    IER = IER_RX;
    nvic_enable(MMOE_UART_IRQ);
}

void uart_irq_handler(void) {
    (void)IIR; /* acknowledges what is not a byte */
    while (LSR & LSR_RX_READY) uart_received((uint8_t)DATA);
}

void uart_send(uint8_t byte) {
    while (!(LSR & LSR_TX_EMPTY)) {}
    DATA = byte;
}
