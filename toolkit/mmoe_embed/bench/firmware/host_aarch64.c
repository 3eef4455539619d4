/* SPDX-License-Identifier: Apache-2.0
 *
 * Start-up and semihosting for an emulated AArch64 core (QEMU's machine "virt", exception level 1). */
#include "host.h"

int main(void);
void fault(void);
void start(void);

/* The stack, and floats; every exception is a fault. */
__asm__(".global Reset_Handler\n"
        "Reset_Handler:\n"
        "ldr x0, =mmoe_stack_top\n"
        "mov sp, x0\n"
        "mov x0, #3 << 20\n"
        "msr cpacr_el1, x0\n"
        "adr x0, exceptions\n"
        "msr vbar_el1, x0\n"
        "isb\n"
        "b start\n"
        ".balign 2048\n"
        "exceptions:\n"
        ".rept 16\n"
        "b fault\n"
        ".balign 128\n"
        ".endr\n");

static long semihost(long operation, const void *argument) {
    register long x0 __asm__("x0") = operation;
    register const void *x1 __asm__("x1") = argument;
    __asm__ volatile("hlt 0xF000" : "+r"(x0) : "r"(x1) : "memory");
    return x0;
}

void host_print(const char *text) { semihost(0x04, text); }

void host_exit(int code) {
    const uint64_t block[2] = {0x20026, (uint64_t)code};
    semihost(0x20, block);
    for (;;) {}
}

void fault(void) {
    host_print("fault\n");
    host_exit(99);
}

/* The machine's memory from 1 GiB on, up to what a program calls the guard, is mapped as it lies, as normal memory: without a
 * map all of it is device memory, where nothing may be misaligned. Blocks of 2 MiB; Arm ARM DDI 0487, D8. */
enum { MEBI = 1 << 20, MEMORY = 1 << 30 };
extern uint8_t mmoe_guard_end[];
static uint64_t first_level[512] __attribute__((aligned(4096))), second_level[512] __attribute__((aligned(4096)));

static void map_memory(void) {
    for (uint64_t at = MEMORY; at < (uintptr_t)mmoe_guard_end; at += 2 * MEBI)
        second_level[(at - MEMORY) / (2 * MEBI)] = at | 1 << 10 | 3 << 8 | 1; /* accessed, inner shareable, block */
    first_level[1] = (uintptr_t)second_level | 3;
    const uint64_t attributes = 0xFF, control = 1 << 23 | 3 << 12 | 1 << 10 | 1 << 8 | 25; /* write-back; 39-bit addresses */
    uint64_t system;
    __asm__ volatile("msr mair_el1, %0\n msr tcr_el1, %1\n msr ttbr0_el1, %2\n isb" ::"r"(attributes), "r"(control),
                     "r"(first_level));
    __asm__ volatile("mrs %0, sctlr_el1" : "=r"(system));
    __asm__ volatile("msr sctlr_el1, %0\n isb" ::"r"(system | 1 << 12 | 1 << 2 | 1));
}

void *host_guard_end(void) { return mmoe_guard_end; }

uint64_t host_count(void) {
    uint64_t count;
    __asm__ volatile("isb\n mrs %0, cntvct_el0" : "=r"(count));
    return count;
}

/* What Linux tells of the CPU (asm/hwcap.h), from its identification registers */
unsigned long getauxval(unsigned long type);
unsigned long getauxval(unsigned long type) {
    uint64_t isar0, isar1;
    __asm__("mrs %0, id_aa64isar0_el1" : "=r"(isar0));
    __asm__("mrs %0, id_aa64isar1_el1" : "=r"(isar1));
    if (type == 16) return (isar0 >> 44 & 15 ? 1ul << 20 : 0) | (isar0 >> 16 & 15 ? 1ul << 7 : 0);
    return isar1 >> 52 & 15 ? 1ul << 13 : 0;
}

void start(void) {
    map_memory();
    host_exit(main());
}
