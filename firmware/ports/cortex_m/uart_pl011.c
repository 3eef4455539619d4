/* SPDX-License-Identifier: Apache-2.0
 *
 * Arm PrimeCell PL011 UART (DDI0183, chapter 3). MMOE_UART_BASE, MMOE_UART_IRQ, MMOE_UART_BAUD, MMOE_UART_PCLK_HZ.
 * MMOE_PL011_CR_EXTRA: bits a vendor added to the control register. uart_prepare: a chip's own clocks, see
 * uart_rp2350.c. */
#include "cortex_m.h"

#define DR REGISTER(MMOE_UART_BASE + 0x00)
#define FR REGISTER(MMOE_UART_BASE + 0x18)
#define IBRD REGISTER(MMOE_UART_BASE + 0x24)
#define FBRD REGISTER(MMOE_UART_BASE + 0x28)
#define LCR_H REGISTER(MMOE_UART_BASE + 0x2C)
#define CR REGISTER(MMOE_UART_BASE + 0x30)
#define IMSC REGISTER(MMOE_UART_BASE + 0x38)
#define ICR REGISTER(MMOE_UART_BASE + 0x44)
enum { FR_RXFE = 1 << 4, FR_TXFF = 1 << 5, LCR_8_BITS = 3 << 5, CR_UARTEN = 1, CR_TXE = 1 << 8, CR_RXE = 1 << 9 };
enum { INT_RX = 1 << 4, INT_ALL = 0x7FF };

#ifndef MMOE_PL011_CR_EXTRA
#define MMOE_PL011_CR_EXTRA 0
#endif

/* clock / (16 baud) in 1/64, rounded: 6 fraction bits (DDI0183, 3.3.6) */
enum { DIVISOR_64 = (uint32_t)((MMOE_UART_PCLK_HZ * 8ull / MMOE_UART_BAUD + 1) / 2) };

void uart_prepare(void);
__attribute__((weak)) void uart_prepare(void) {}

void uart_start(void) {
    uart_prepare();
    CR = MMOE_PL011_CR_EXTRA;
    IBRD = DIVISOR_64 / 64;
    FBRD = DIVISOR_64 % 64;
    LCR_H = LCR_8_BITS; /* without FIFOs every byte interrupts; also takes the divisor over */
    ICR = INT_ALL;
    IMSC = INT_RX;
    CR = CR_UARTEN | CR_TXE | CR_RXE | MMOE_PL011_CR_EXTRA;
    nvic_enable(MMOE_UART_IRQ);
}

void uart_irq_handler(void) {
    ICR = INT_RX;
    while (!(FR & FR_RXFE)) uart_received((uint8_t)DR);
}

void uart_send(uint8_t byte) {
    while (FR & FR_TXFF) {}
    DR = byte;
}
