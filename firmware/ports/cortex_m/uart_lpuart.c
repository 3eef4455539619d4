/* SPDX-License-Identifier: Apache-2.0
 *
 * NXP LPUART of the i.MX RT and Kinetis (IMXRT1060RM, chapter LPUART). Its clock and its pins are MMOE_BOOT_WRITES.
 * MMOE_UART_BASE, MMOE_UART_IRQ, MMOE_UART_BAUD, MMOE_UART_PCLK_HZ. */
#include "cortex_m.h"

#define BAUD REGISTER(MMOE_UART_BASE + 0x10)
#define STAT REGISTER(MMOE_UART_BASE + 0x14)
#define CTRL REGISTER(MMOE_UART_BASE + 0x18)
#define DATA REGISTER(MMOE_UART_BASE + 0x1C)
enum { OVERSAMPLING = 16, BAUD_OSR = (OVERSAMPLING - 1) << 24 };
enum { STAT_OR = 1 << 19, STAT_RDRF = 1 << 21, STAT_TDRE = 1 << 23 };
enum { CTRL_RE = 1 << 18, CTRL_TE = 1 << 19, CTRL_RIE = 1 << 21 };

void uart_start(void) {
    CTRL = 0;
    BAUD = BAUD_OSR | (MMOE_UART_PCLK_HZ + OVERSAMPLING * MMOE_UART_BAUD / 2) / (OVERSAMPLING * MMOE_UART_BAUD);
    CTRL = CTRL_TE | CTRL_RE | CTRL_RIE;
    nvic_enable(MMOE_UART_IRQ);
}

void uart_irq_handler(void) {
    while (STAT & STAT_RDRF) uart_received((uint8_t)DATA);
    if (STAT & STAT_OR) STAT = STAT_OR; /* stops the receiver until it is cleared */
}

void uart_send(uint8_t byte) {
    while (!(STAT & STAT_TDRE)) {}
    DATA = byte;
}
