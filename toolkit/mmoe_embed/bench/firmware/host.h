/* SPDX-License-Identifier: Apache-2.0
 *
 * What a kernel program needs from the machine below it: output, an end, a clock. */
#ifndef MMOE_BENCH_HOST_H
#define MMOE_BENCH_HOST_H

#include <stdint.h>

void host_print(const char *text);
void host_print_number(uint32_t number);
void host_exit(int code);
/* SysTicks of the emulated core, which repeat exactly; nanoseconds of processor time on hosts, which do not: there the best of
 * HOST_TRIALS counts. A measurement lasts HOST_LEAST_COUNT at least: a tick is a thousandth of it. */
uint64_t host_count(void);
#ifdef MMOE_HOST_POSIX
enum { HOST_LEAST_COUNT = 2000000, HOST_TRIALS = 7 };
#else
enum { HOST_LEAST_COUNT = 1000, HOST_TRIALS = 1 };
#endif
/* The end of HOST_GUARD_BYTES of free memory: reading or writing behind it ends the program with a failure. */
#define HOST_GUARD_BYTES 0x10000
void *host_guard_end(void);
/* Fills the unused stack with a pattern; bytes used below the caller since. */
void host_stack_mark(void);
uint32_t host_stack_used(void);

#endif
