/* SPDX-License-Identifier: Apache-2.0
 *
 * The registers every Cortex-M has (Armv7-M and Armv8-M ARM, chapter B3), and what the port's files share. */
#ifndef MMOE_CORTEX_M_H
#define MMOE_CORTEX_M_H

#include <stdint.h>

#define REGISTER(address) (*(volatile uint32_t *)(address))

#define SYST_CSR REGISTER(0xE000E010)
#define SYST_RVR REGISTER(0xE000E014)
#define SYST_CVR REGISTER(0xE000E018)
#define NVIC_ISER(irq) REGISTER(0xE000E100 + 4 * ((irq) / 32))
#define SCB_ICSR REGISTER(0xE000ED04)
#define SCB_ICSR_PENDSTSET (1u << 26)
#define SCB_VTOR REGISTER(0xE000ED08)
#define SCB_AIRCR REGISTER(0xE000ED0C)
#define SCB_AIRCR_SYSRESETREQ 0x05FA0004u /* with the key that a write needs */
#define SCB_CCR REGISTER(0xE000ED14)
#define SCB_CCR_LOB (1u << 19)
#define SCB_CFSR REGISTER(0xE000ED28)
#define SCB_BFAR REGISTER(0xE000ED38)
#define SCB_CPACR REGISTER(0xE000ED88)

static inline void nvic_enable(uint32_t irq) { NVIC_ISER(irq) = 1u << irq % 32; }

static inline void disable_interrupts(void) { __asm__ volatile("cpsid i" ::: "memory"); }
static inline void enable_interrupts(void) { __asm__ volatile("cpsie i\n isb" ::: "memory"); }
/* Returns also for an interrupt that is disabled as above. */
static inline void wait_for_interrupt(void) { __asm__ volatile("dsb\n wfi" ::: "memory"); }

void SysTick_Handler(void);
void systick_start(void);

/* The UART's driver: uart_cmsdk.c, uart_stm32.c */
void uart_start(void);
void uart_irq_handler(void);
void uart_send(uint8_t byte); /* waits for room */

/* The DMA engine's driver: dma_pl081.c */
void dma_irq_handler(void);

/* uart_ring.c: bytes between the interrupt and mmoe_port_read_byte */
void uart_received(uint8_t byte);

#endif
