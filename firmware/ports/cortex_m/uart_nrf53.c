/* SPDX-License-Identifier: Apache-2.0
 *
 * UARTE of the nRF52, nRF53 and nRF91 (nRF5340 Product Specification, UARTE registers). */
enum { TASK_START_RX = 0x000, TASK_START_TX = 0x008 };
enum { EVENT_END_RX = 0x110, EVENT_END_TX = 0x120, EVENT_RX_STARTED = 0x14C };
enum { RX_PTR = 0x534, RX_MAXCNT = 0x538, TX_PTR = 0x544, TX_MAXCNT = 0x548 };
enum { END_RX_BIT = 4 };

#include "uart_uarte.h"
