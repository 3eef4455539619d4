/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MMOE_HOST_STORAGE_H
#define MMOE_HOST_STORAGE_H

#include <stdint.h>

/* The expert image as a file. path NULL: gen/experts.bin beside the program, or flash.bin where experts can be replaced. io:
 * "auto", "uring" or "thread". Returns 0, or -1 with a message on standard error. */
int host_storage_open(const char *path, const char *io);

/* io_uring (uring.c). host_uring_open: -1 where the kernel has none, or forbids it. */
int host_uring_open(void);
int host_uring_start(int file, void *to, uint64_t offset, uint32_t length);
/* 0: still running; 1: over, *result is what read() would give: bytes or a negative errno */
int host_uring_done(int32_t *result);

#endif
