/* SPDX-License-Identifier: Apache-2.0
 *
 * Clock, stack and name of the board, as the kernel knows them. */
#include "mmoe_runtime.h"
#include "port.h"

#ifdef CONFIG_ARCH_POSIX

#include <native_rtc.h>

/* Simulated time stands still while a program computes; the host's goes on. */
uint64_t mmoe_port_ticks(void) {
    uint32_t ns;
    uint64_t s;
    native_rtc_gettime(RTC_CLOCK_PSEUDOHOSTREALTIME, &ns, &s);
    return s * NSEC_PER_SEC + ns;
}

uint32_t mmoe_port_tick_hz(void) { return NSEC_PER_SEC; }

#else

uint64_t mmoe_port_ticks(void) {
#ifdef CONFIG_TIMER_HAS_64BIT_CYCLE_COUNTER
    return k_cycle_get_64();
#else
    /* A silence longer than the counter's 32 bits loses whole turns of it; no operation takes that long. */
    static uint64_t last;
    const unsigned int key = irq_lock(); /* the model's thread and the reader's both ask */
    last += (uint32_t)(k_cycle_get_32() - (uint32_t)last);
    const uint64_t now = last;
    irq_unlock(key);
    return now;
#endif
}

uint32_t mmoe_port_tick_hz(void) { return sys_clock_hw_cycles_per_sec(); }

#endif

const char *mmoe_port_board(void) { return CONFIG_BOARD_TARGET; }

/* The kernel paints stacks (CONFIG_INIT_STACKS); what is not painted any more was used. Threads of native_sim run on stacks of
 * the host. */
void mmoe_port_stack(uint32_t *reserved, uint32_t *used) {
    *reserved = *used = 0;
#if defined(CONFIG_THREAD_STACK_INFO) && defined(CONFIG_INIT_STACKS) && !defined(CONFIG_ARCH_POSIX)
    size_t unused;
    if (k_thread_stack_space_get(&mmoe_thread, &unused)) return;
    *reserved = (uint32_t)mmoe_thread.stack_info.size;
    *used = *reserved - (uint32_t)unused;
#endif
}
