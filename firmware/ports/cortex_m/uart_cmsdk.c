/* SPDX-License-Identifier: Apache-2.0
 *
 * Arm CMSDK APB UART (DDI0479, 4.3), of the MPS2 and MPS3 images.
 * MMOE_UART_BASE, MMOE_UART_IRQ (receive), MMOE_UART_BAUD, MMOE_UART_PCLK_HZ. */
#include "cortex_m.h"

#define DATA REGISTER(MMOE_UART_BASE + 0x00)
#define STATE REGISTER(MMOE_UART_BASE + 0x04)
#define CTRL REGISTER(MMOE_UART_BASE + 0x08)
#define INTCLEAR REGISTER(MMOE_UART_BASE + 0x0C)
#define BAUDDIV REGISTER(MMOE_UART_BASE + 0x10)
enum { STATE_TX_FULL = 1, STATE_RX_FULL = 2, CTRL_TX = 1, CTRL_RX = 2, CTRL_RX_INTERRUPT = 8, INT_RX = 2 };

void uart_start(void) {
    BAUDDIV = MMOE_UART_PCLK_HZ / MMOE_UART_BAUD;
    CTRL = CTRL_TX | CTRL_RX | CTRL_RX_INTERRUPT;
    nvic_enable(MMOE_UART_IRQ);
}

void uart_irq_handler(void) {
    INTCLEAR = INT_RX;
    while (STATE & STATE_RX_FULL) uart_received((uint8_t)DATA);
}

void uart_send(uint8_t byte) {
    while (STATE & STATE_TX_FULL) {}
    DATA = byte;
}
