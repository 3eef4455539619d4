/* SPDX-License-Identifier: Apache-2.0
 *
 * UARTE of the nRF54L (nRF54L15 Datasheet, UARTE registers): the DMA has tasks, events and registers of its own. */
enum { TASK_START_RX = 0x028, TASK_START_TX = 0x050 };
enum { EVENT_END_RX = 0x14C, EVENT_RX_STARTED = 0x150, EVENT_END_TX = 0x168 };
enum { RX_PTR = 0x704, RX_MAXCNT = 0x708, TX_PTR = 0x73C, TX_MAXCNT = 0x740 };
enum { END_RX_BIT = 19 };

#include "uart_uarte.h"
