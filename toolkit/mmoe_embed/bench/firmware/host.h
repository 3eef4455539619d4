/* SPDX-License-Identifier: Apache-2.0
 *
 * What a kernel program needs from the machine below it: output, an end, a clock. */
#ifndef MMOE_BENCH_HOST_H
#define MMOE_BENCH_HOST_H

#include <stdint.h>

void host_print(const char *text);
void host_print_number(uint32_t number);
void host_exit(int code);
/* SysTicks of the emulated core, nanoseconds on hosts. */
uint64_t host_count(void);
/* The end of HOST_GUARD_BYTES of free memory: reading or writing behind it ends the program with a failure. */
#define HOST_GUARD_BYTES 0x10000
void *host_guard_end(void);
/* Fills the unused stack with a pattern; bytes used below the caller since. */
void host_stack_mark(void);
uint32_t host_stack_used(void);

#endif
