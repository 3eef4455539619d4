/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MMOE_HOST_STORAGE_H
#define MMOE_HOST_STORAGE_H

#include <stdint.h>

/* The expert image as a file. path NULL: gen/experts.bin beside the program, or flash.bin where experts can be replaced. io:
 * "auto", "uring" or "thread". Returns 0, or -1 with a message on standard error. */
int host_storage_open(const char *path, const char *io);

/* io_uring (uring.c). host_uring_open: -1 where the kernel has none, or forbids it. */
int host_uring_open(void);
typedef struct {
    int file, background; /* 1: not in this call, not even from the system's cache; direct reads never are */
    void *to;
    uint64_t offset;
    uint32_t length;
} host_uring_read;
/* At most MMOE_READS at once. number: what host_uring_done calls it */
int host_uring_start(const host_uring_read *read, uint64_t number);
/* 0: all that are left are still running; 1: one is over, *result is what read() would give: bytes or a negative errno */
int host_uring_done(uint64_t *number, int32_t *result);

#endif
