/* SPDX-License-Identifier: Apache-2.0
 *
 * USART of the STM32F1, F2, F4 and L1 (RM0090, 30.6). Its clock and its pins are MMOE_BOOT_WRITES of startup.c.
 * MMOE_UART_BASE, MMOE_UART_IRQ, MMOE_UART_BAUD, MMOE_UART_PCLK_HZ. */
#include "cortex_m.h"

#define SR REGISTER(MMOE_UART_BASE + 0x00)
#define DR REGISTER(MMOE_UART_BASE + 0x04)
#define BRR REGISTER(MMOE_UART_BASE + 0x08)
#define CR1 REGISTER(MMOE_UART_BASE + 0x0C)
enum { SR_ORE = 1 << 3, SR_RXNE = 1 << 5, SR_TXE = 1 << 7 };
enum { CR1_RE = 1 << 2, CR1_TE = 1 << 3, CR1_RXNEIE = 1 << 5, CR1_UE = 1 << 13 };

void uart_start(void) {
    BRR = (MMOE_UART_PCLK_HZ + MMOE_UART_BAUD / 2) / MMOE_UART_BAUD;
    CR1 = CR1_UE | CR1_TE | CR1_RE | CR1_RXNEIE;
    nvic_enable(MMOE_UART_IRQ);
}

void uart_irq_handler(void) {
    while (SR & (SR_RXNE | SR_ORE)) uart_received((uint8_t)DR); /* reading SR, then DR, clears an overrun */
}

void uart_send(uint8_t byte) {
    while (!(SR & SR_TXE)) {}
    DR = byte;
}
