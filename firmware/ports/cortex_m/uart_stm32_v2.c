/* SPDX-License-Identifier: Apache-2.0
 *
 * USART of the STM32F0, F3, F7, G, H, L4, N6, U5 and WB (RM0433 48.7, RM0456 66.8). Its clock and its pins are
 * MMOE_BOOT_WRITES. MMOE_UART_BASE, MMOE_UART_IRQ, MMOE_UART_BAUD, MMOE_UART_PCLK_HZ. */
#include "cortex_m.h"

#define CR1 REGISTER(MMOE_UART_BASE + 0x00)
#define BRR REGISTER(MMOE_UART_BASE + 0x0C)
#define ISR REGISTER(MMOE_UART_BASE + 0x1C)
#define ICR REGISTER(MMOE_UART_BASE + 0x20)
#define RDR REGISTER(MMOE_UART_BASE + 0x24)
#define TDR REGISTER(MMOE_UART_BASE + 0x28)
enum { CR1_UE = 1 << 0, CR1_RE = 1 << 2, CR1_TE = 1 << 3, CR1_RXNEIE = 1 << 5 };
enum { ISR_RXNE = 1 << 5, ISR_TXE = 1 << 7, ICR_ERRORS = 0xF }; /* parity, framing, noise, overrun */

void uart_start(void) {
    BRR = (MMOE_UART_PCLK_HZ + MMOE_UART_BAUD / 2) / MMOE_UART_BAUD;
    CR1 = CR1_UE | CR1_TE | CR1_RE | CR1_RXNEIE;
    nvic_enable(MMOE_UART_IRQ);
}

void uart_irq_handler(void) {
    while (ISR & ISR_RXNE) uart_received((uint8_t)RDR);
    ICR = ICR_ERRORS; /* an overrun interrupts again until it is cleared */
}

void uart_send(uint8_t byte) {
    while (!(ISR & ISR_TXE)) {}
    TDR = byte;
}
