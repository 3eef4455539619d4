/* SPDX-License-Identifier: Apache-2.0 */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "host.h"

void host_print(const char *text) { fputs(text, stdout); }
void host_print_number(uint32_t number) { printf("%u", (unsigned)number); }
void host_exit(int code) { exit(code); }

uint64_t host_count(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void host_stack_mark(void) {}
uint32_t host_stack_used(void) { return 0; }
