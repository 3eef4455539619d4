/* SPDX-License-Identifier: Apache-2.0
 *
 * UART of the Ambiq Apollo: a PL011 whose control register also has CLKEN (bit 3) and CLKSEL (bits 4 to 6, 1 is 24 MHz),
 * as the Apollo510's UART->CR of its SVD says. */
#define MMOE_PL011_CR_EXTRA (1u << 3 | 1u << 4)
#include "uart_pl011.c"
