/* SPDX-License-Identifier: Apache-2.0
 *
 * What every emulated core without a system shares. */
#include <stddef.h>

#include "host.h"

void host_print_number(uint32_t number) {
    char digits[11], *p = digits + 10;
    *p = 0;
    do *--p = (char)('0' + number % 10);
    while (number /= 10);
    host_print(p);
}

#define STACK_WORDS 1024
void host_stack_mark(void) {
    volatile uint32_t *low = (uint32_t *)__builtin_frame_address(0) - 16;
    for (uint32_t i = 0; i < STACK_WORDS; i++) low[-(int32_t)i] = 0xA5A5A5A5;
}

uint32_t host_stack_used(void) {
    volatile uint32_t *low = (uint32_t *)__builtin_frame_address(0) - 16;
    uint32_t used = STACK_WORDS;
    while (used && low[-(int32_t)(used - 1)] == 0xA5A5A5A5) used--;
    return used * 4 + 64;
}
