/* SPDX-License-Identifier: Apache-2.0
 *
 * Start-up and semihosting for an emulated Cortex-M. */
#include <stddef.h>

#include "host.h"

int main(void);
void Reset_Handler(void);
static void fault(void);

extern uint32_t mmoe_stack_top[], mmoe_guard_end[];

__attribute__((section(".vectors"), used)) static void *const vectors[16] = {
    mmoe_stack_top, (void *)(uintptr_t)Reset_Handler, (void *)(uintptr_t)fault, (void *)(uintptr_t)fault,
    (void *)(uintptr_t)fault, (void *)(uintptr_t)fault, (void *)(uintptr_t)fault,
};

static int semihost(int operation, const void *argument) {
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

void host_print(const char *text) { semihost(0x04, text); }

void host_exit(int code) {
    const uint32_t block[2] = {0x20026, (uint32_t)code};
    semihost(0x20, block);
    for (;;) {}
}

static void fault(void) {
    host_print("fault\n");
    host_exit(99);
}

void *host_guard_end(void) {
#if __ARM_ARCH == 7 /* the boards answer everywhere: an MPU region of 64 KiB without access */
    volatile uint32_t *mpu = (volatile uint32_t *)0xE000ED90;
    mpu[2] = 0;
    mpu[3] = (uint32_t)(uintptr_t)mmoe_guard_end;
    mpu[4] = 15u << 1 | 1;
    mpu[1] = 5; /* on; the default map elsewhere */
    __asm__ volatile("dsb\n isb");
#endif
    return mmoe_guard_end;
}

#define SYSTICK ((volatile uint32_t *)0xE000E010)
static uint32_t wraps_seen, last_tick;

uint64_t host_count(void) {
    if (!(SYSTICK[0] & 1)) {
        SYSTICK[1] = 0xFFFFFF;
        SYSTICK[2] = 0;
        SYSTICK[0] = 5;
    }
    /* Counts down; a call at least every half second keeps it right. */
    uint32_t tick = 0xFFFFFF - SYSTICK[2];
    if (tick < last_tick) wraps_seen++;
    last_tick = tick;
    return ((uint64_t)wraps_seen << 24) + tick;
}

__attribute__((used)) void Reset_Handler(void) {
#if defined(__ARM_FP)
    *(volatile uint32_t *)0xE000ED88 |= 0xFu << 20; /* CPACR: FPU and MVE */
    __asm__ volatile("dsb\n isb");
#endif
    host_exit(main());
}
