/* SPDX-License-Identifier: Apache-2.0 */
#define _DEFAULT_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include "host.h"

void host_print(const char *text) { fputs(text, stdout); }
void host_print_number(uint32_t number) { printf("%u", (unsigned)number); }
void host_exit(int code) { exit(code); }

uint64_t host_count(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void *host_guard_end(void) {
    static char *memory;
    if (!memory) {
        memory = mmap(NULL, 2 * HOST_GUARD_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED || mprotect(memory + HOST_GUARD_BYTES, HOST_GUARD_BYTES, PROT_NONE)) host_exit(98);
    }
    return memory + HOST_GUARD_BYTES;
}

void host_stack_mark(void) {}
uint32_t host_stack_used(void) { return 0; }
