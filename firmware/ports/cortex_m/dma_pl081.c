/* SPDX-License-Identifier: Apache-2.0
 *
 * The expert image lies in the address space; channel 0 of an Arm PL081 (DDI0218, 3.4) copies it while the core computes.
 * MMOE_DMA_BASE, MMOE_DMA_IRQ (its combined interrupt). Source and destination are words; one programming of the channel moves
 * at most 4095 of them, so that a longer read is continued by the interrupt. */
#include "cortex_m.h"
#include "storage.h"

#define INT_TC_STATUS REGISTER(MMOE_DMA_BASE + 0x004)
#define INT_TC_CLEAR REGISTER(MMOE_DMA_BASE + 0x008)
#define INT_ERROR_STATUS REGISTER(MMOE_DMA_BASE + 0x00C)
#define INT_ERROR_CLEAR REGISTER(MMOE_DMA_BASE + 0x010)
#define CONFIGURATION REGISTER(MMOE_DMA_BASE + 0x030)
#define SOURCE REGISTER(MMOE_DMA_BASE + 0x100)
#define DESTINATION REGISTER(MMOE_DMA_BASE + 0x104)
#define LINK REGISTER(MMOE_DMA_BASE + 0x108)
#define CONTROL REGISTER(MMOE_DMA_BASE + 0x10C)
#define CHANNEL REGISTER(MMOE_DMA_BASE + 0x110)

enum { CHANNEL_0 = 1, ENABLE = 1, MOST_WORDS = 4095, BURST_WORDS = 8 };
#define CONTROL_WORDS (2u << 18 | 2u << 21)        /* both widths: 32 bits */
#define CONTROL_BURSTS (2u << 12 | 2u << 15)       /* of 8 words */
#define CONTROL_INCREMENTS (1u << 26 | 1u << 27)
#define CONTROL_INTERRUPTS (1u << 31)
#define CHANNEL_INTERRUPTS (1u << 14 | 1u << 15)   /* error, terminal count; flow: memory to memory, by the DMAC */

static struct {
    volatile uint32_t from, to, words; /* still to be programmed */
    uint32_t all;                      /* words of the read */
    volatile int state;                /* 0 running, 1 finished, or a status */
    volatile uint64_t ended;
} dma = {.state = 1};

static void program_channel(void) {
    const uint32_t words = dma.words < MOST_WORDS ? dma.words : MOST_WORDS, from = dma.from, to = dma.to;
    dma.from = from + 4 * words;
    dma.to = to + 4 * words;
    dma.words -= words;
    SOURCE = from;
    DESTINATION = to;
    LINK = 0;
    CONTROL = CONTROL_INTERRUPTS | CONTROL_INCREMENTS | CONTROL_WORDS | CONTROL_BURSTS | words;
    CHANNEL = CHANNEL_INTERRUPTS | ENABLE;
    CONFIGURATION = ENABLE; /* changes nothing; QEMU 7.2 raises the interrupt line only here */
}

void dma_irq_handler(void) {
    if (INT_ERROR_STATUS & CHANNEL_0) {
        INT_ERROR_CLEAR = CHANNEL_0;
        dma.state = MMOE_E_PAGE_READ;
    } else if (INT_TC_STATUS & CHANNEL_0) {
        INT_TC_CLEAR = CHANNEL_0;
        if (dma.words) {
            program_channel();
        } else {
            dma.ended = mmoe_port_ticks();
            dma.state = 1;
        }
    }
}

mmoe_status mmoe_port_read_start(void *dst, uint32_t offset, uint32_t length) {
    const uint32_t from = (uint32_t)(uintptr_t)mmoe_expert_image + offset, to = (uint32_t)(uintptr_t)dst;
    if ((from | to | length) & 3 || dma.state == 0) return MMOE_E_ARGUMENT;
    CONFIGURATION = ENABLE; /* both masters little-endian, as after reset */
    INT_TC_CLEAR = INT_ERROR_CLEAR = CHANNEL_0;
    nvic_enable(MMOE_DMA_IRQ);
    dma.from = from;
    dma.to = to;
    dma.words = dma.all = length / 4;
    dma.state = 0;
    __asm__ volatile("dsb" ::: "memory"); /* what the core wrote to dst before lies in memory */
    program_channel();
    return MMOE_OK;
}

int mmoe_port_read_done(void) { return dma.state; }

/* The words still to be copied are in the control register; those in a burst may be on their way. What is still to be programmed
 * is read first: an interrupt in between then makes less of the copy, never more. */
uint32_t mmoe_port_read_progress(void) {
    const uint32_t all = dma.all, unprogrammed = dma.words, left = unprogrammed + (CONTROL & MOST_WORDS) + BURST_WORDS;
    return left < all ? 4 * (all - left) : 0;
}

uint64_t mmoe_port_read_ended(void) { return dma.ended; }
