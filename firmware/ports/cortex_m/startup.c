/* SPDX-License-Identifier: Apache-2.0
 *
 * From reset to mmoe_main on any Cortex-M. The linker script (linker.ld.j2) gives the __mmoe_ symbols.
 * MMOE_UART_IRQ, and MMOE_DMA_IRQ where there is one, place the handlers in the vector table. MMOE_BOOT_WRITES, where a board needs any (clocks, pins):
 * initialisers {address, bits to clear, bits to set}, each followed by a comma, done in their order. */
#include "cortex_m.h"
#include "mmoe_runtime.h"

#ifndef MMOE_BOARD
#define MMOE_BOARD "unnamed"
#endif

enum { STACK_PAINT = 0x5AFE57AC };

extern uint32_t __mmoe_stack_bottom[], __mmoe_stack_top[];
extern uint32_t __mmoe_data_start[], __mmoe_data_end[];
extern const uint32_t __mmoe_data_load[];
extern uint32_t __mmoe_bss_start[], __mmoe_bss_end[];

void Reset_Handler(void);
void fault_report(const uint32_t *frame);
void HardFault_Handler(void);
static void Default_Handler(void);

typedef void (*handler)(void);

#if defined(MMOE_DMA_IRQ) && MMOE_DMA_IRQ > MMOE_UART_IRQ
#define LAST_IRQ MMOE_DMA_IRQ
#else
#define LAST_IRQ MMOE_UART_IRQ
#endif

typedef struct {
    uint32_t *stack_top;
    handler exception[15];
    handler interrupt[LAST_IRQ + 1];
} vector_table;

/* Memory, bus and usage faults are not enabled, so that they become HardFaults. */
__attribute__((section(".mmoe_vectors"), used)) static const vector_table vectors = {
    .stack_top = __mmoe_stack_top,
    .exception = {Reset_Handler, Default_Handler, HardFault_Handler, HardFault_Handler, HardFault_Handler,
                  HardFault_Handler, HardFault_Handler, Default_Handler, Default_Handler, Default_Handler,
                  Default_Handler, Default_Handler, Default_Handler, Default_Handler, SysTick_Handler},
    .interrupt =
        {
            [MMOE_UART_IRQ] = uart_irq_handler,
#ifdef MMOE_DMA_IRQ
            [MMOE_DMA_IRQ] = dma_irq_handler,
#endif
        },
};

static void write_boot_registers(void) {
#ifdef MMOE_BOOT_WRITES
    static const struct {
        uint32_t address, clear, set;
    } writes[] = {MMOE_BOOT_WRITES};
    for (uint32_t i = 0; i < sizeof writes / sizeof writes[0]; i++)
        REGISTER(writes[i].address) = (REGISTER(writes[i].address) & ~writes[i].clear) | writes[i].set;
#endif
}

static void enable_core_features(void) {
    SCB_VTOR = (uint32_t)(uintptr_t)&vectors;
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
    SCB_CPACR |= 0xFu << 20; /* coprocessors 10 and 11: FPU and Helium */
#endif
#if defined(__ARM_FEATURE_MVE)
    SCB_CCR |= SCB_CCR_LOB; /* low-overhead loops */
#endif
#if defined(__ARM_ARCH_8M_MAIN__) || defined(__ARM_ARCH_8_1M_MAIN__)
    __asm__ volatile("msr msplim, %0" ::"r"(__mmoe_stack_bottom)); /* an overflow becomes a fault */
#endif
    __asm__ volatile("dsb\n isb" ::: "memory");
}

/* The stack is painted below its present use. */
static void prepare_memory(void) {
    uint32_t *here = __builtin_frame_address(0);
    for (volatile uint32_t *p = __mmoe_stack_bottom; p < here - 16; p++) *p = STACK_PAINT;
    const uint32_t *from = __mmoe_data_load;
    for (volatile uint32_t *p = __mmoe_data_start; p < __mmoe_data_end; p++) *p = *from++;
    for (volatile uint32_t *p = __mmoe_bss_start; p < __mmoe_bss_end; p++) *p = 0;
}

__attribute__((used)) void Reset_Handler(void) {
    enable_core_features();
    prepare_memory();
    write_boot_registers();
    systick_start();
    uart_start();
    mmoe_main();
    Default_Handler();
}

static void Default_Handler(void) {
    for (;;) wait_for_interrupt();
}

#ifdef MMOE_RETAINED
void mmoe_port_restart(void) {
    __asm__ volatile("dsb" ::: "memory");
    SCB_AIRCR = SCB_AIRCR_SYSRESETREQ;
    Default_Handler();
}
#endif

const char *mmoe_port_board(void) { return MMOE_BOARD; }

void mmoe_port_stack(uint32_t *reserved, uint32_t *used) {
    const volatile uint32_t *p = __mmoe_stack_bottom;
    while (p < __mmoe_stack_top && *p == STACK_PAINT) p++;
    *reserved = (uint32_t)(__mmoe_stack_top - __mmoe_stack_bottom) * 4;
    *used = (uint32_t)(__mmoe_stack_top - p) * 4;
}

/* --- faults: say where, then stop ------------------------------------------------------------------------------------------ */

static void say(const char *text) {
    while (*text) uart_send((uint8_t)*text++);
}

static void say_word(const char *name, uint32_t word) {
    say(name);
    for (int shift = 28; shift >= 0; shift -= 4) uart_send((uint8_t)"0123456789abcdef"[word >> shift & 15]);
}

/* frame: r0 to r3, r12, lr, pc, xpsr as the core stacked them */
__attribute__((used)) void fault_report(const uint32_t *frame) {
    say("\r\ne-[Fault");
    if (frame >= __mmoe_stack_bottom && frame + 8 <= __mmoe_stack_top) {
        say_word(" pc ", frame[6]);
        say_word(" lr ", frame[5]);
    } else {
        say_word(" with a wrong stack ", (uint32_t)(uintptr_t)frame);
    }
#if __ARM_ARCH >= 7
    say_word(" cfsr ", SCB_CFSR);
    say_word(" address ", SCB_BFAR);
#endif
    say("]\r\n");
    disable_interrupts();
    Default_Handler();
}

/* On a fresh stack: the old one may be what went wrong. */
__attribute__((naked, used)) void HardFault_Handler(void) {
    __asm__ volatile(
        "mrs r0, msp\n"
#if defined(__ARM_ARCH_8M_MAIN__) || defined(__ARM_ARCH_8_1M_MAIN__)
        "movs r1, #0\n"
        "msr msplim, r1\n"
#endif
        "ldr r1, =__mmoe_stack_top\n"
        "mov sp, r1\n"
        "ldr r1, =fault_report\n"
        "bx r1\n"
        ".ltorg\n");
}
