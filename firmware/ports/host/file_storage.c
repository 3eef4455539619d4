/* SPDX-License-Identifier: Apache-2.0
 *
 * The expert image is a file: read by io_uring where the kernel has it, else by pread on a background thread, which tells how far
 * it is. io_uring does not tell when a read ended: what counts is when it was last seen running, so that load_ticks are never too
 * many. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "host_storage.h"
#include "mmoe_runtime.h"

enum { PIECE_BYTES = 1 << 16, THREAD_STACK_BYTES = 1 << 17 };

static int file = -1, uses_uring;
static struct {
    char *to;
    uint64_t offset;
    uint32_t length;
    _Atomic uint32_t arrived;
    _Atomic int state; /* 0 running, 1 finished, or a status */
    uint64_t ended;
} request = {.state = 1};

/* --- the thread ----------------------------------------------------------------------------------------------------------- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wakes = PTHREAD_COND_INITIALIZER;
static int ordered;

static void *serve_reads(void *unused) {
    (void)unused;
    for (;;) {
        pthread_mutex_lock(&lock);
        while (!ordered) pthread_cond_wait(&wakes, &lock);
        ordered = 0;
        pthread_mutex_unlock(&lock);
        uint32_t arrived = 0;
        while (arrived < request.length) {
            const uint32_t left = request.length - arrived;
            const ssize_t count = pread(file, request.to + arrived, left < PIECE_BYTES ? left : PIECE_BYTES,
                                        (off_t)(request.offset + arrived));
            if (count < 0 && errno == EINTR) continue;
            if (count <= 0) break; /* an error, or the file is shorter than its table says */
            arrived += (uint32_t)count;
            atomic_store(&request.arrived, arrived);
        }
        request.ended = mmoe_port_ticks();
        atomic_store(&request.state, arrived == request.length ? 1 : MMOE_E_PAGE_READ);
    }
    return NULL;
}

static int start_thread(void) {
    pthread_t thread;
    pthread_attr_t attributes;
    return pthread_attr_init(&attributes) || pthread_attr_setstacksize(&attributes, THREAD_STACK_BYTES) ||
           pthread_create(&thread, &attributes, serve_reads, NULL);
}

/* --- choosing -------------------------------------------------------------------------------------------------------------- */

#ifdef MMOE_UPDATES
#define OWN_FILE "flash.bin"
#define OPEN_FLAGS (O_RDWR | O_CLOEXEC)
#else
#define OWN_FILE "gen/experts.bin"
#define OPEN_FLAGS (O_RDONLY | O_CLOEXEC)
#endif

/* OWN_FILE beside the program */
static int beside_program(char *path, size_t size) {
    static const char name[] = OWN_FILE;
    const ssize_t length = readlink("/proc/self/exe", path, size - sizeof name);
    if (length <= 0) return -1;
    path[length] = 0;
    char *slash = strrchr(path, '/');
    if (!slash) return -1;
    memcpy(slash + 1, name, sizeof name);
    return 0;
}

int host_storage_open(const char *path, const char *io) {
    char own[4096];
    if (!path && beside_program(own, sizeof own) == 0) path = own;
    file = path ? open(path, OPEN_FLAGS) : -1;
    if (file < 0) {
        fprintf(stderr, "cannot open the expert image %s: %s\n", path ? path : "", strerror(errno));
        return -1;
    }
    uses_uring = strcmp(io, "thread") != 0 && host_uring_open() == 0;
    if (!uses_uring && strcmp(io, "uring") == 0) {
        fputs("this kernel has no io_uring, or forbids it: --io thread\n", stderr);
        return -1;
    }
    if (!uses_uring && start_thread()) {
        fputs("cannot start the thread that reads experts\n", stderr);
        return -1;
    }
    return 0;
}

/* --- the port -------------------------------------------------------------------------------------------------------------- */

mmoe_status mmoe_port_read_start(void *dst, uint32_t offset, uint32_t length) {
    if (atomic_load(&request.state) == 0) return MMOE_E_ARGUMENT;
    request.to = dst;
    request.offset = offset;
    request.length = length;
    atomic_store(&request.arrived, 0);
    atomic_store(&request.state, 0);
    if (uses_uring) {
        request.ended = mmoe_port_ticks();
        if (host_uring_start(file, dst, offset, length) == 0) return MMOE_OK;
        atomic_store(&request.state, 1);
        return MMOE_E_PAGE_READ;
    }
    pthread_mutex_lock(&lock);
    ordered = 1;
    pthread_cond_signal(&wakes);
    pthread_mutex_unlock(&lock);
    return MMOE_OK;
}

/* A read that io_uring gave only a part of goes on behind it. */
static void follow_uring(void) {
    int32_t result;
    if (!host_uring_done(&result)) {
        request.ended = mmoe_port_ticks();
        return;
    }
    const uint32_t arrived = atomic_load(&request.arrived) + (result > 0 ? (uint32_t)result : 0);
    atomic_store(&request.arrived, arrived);
    const int goes_on = result > 0 || result == -EINTR || result == -EAGAIN;
    if (goes_on && arrived < request.length &&
        host_uring_start(file, request.to + arrived, request.offset + arrived, request.length - arrived) == 0)
        return;
    atomic_store(&request.state, arrived == request.length ? 1 : MMOE_E_PAGE_READ);
}

int mmoe_port_read_done(void) {
    if (uses_uring && atomic_load(&request.state) == 0) follow_uring();
    const int state = atomic_load(&request.state);
    if (state == 0) sched_yield(); /* the one that waits has nothing better to do than the one that reads */
    return state;
}

uint32_t mmoe_port_read_progress(void) { return atomic_load(&request.arrived); }
uint64_t mmoe_port_read_ended(void) { return request.ended; }

#ifdef MMOE_UPDATES
/* --- writing: a file that keeps to a NOR flash's rules ---------------------------------------------------------------------- */

/* On the disk before anything that is written later */
static mmoe_status write_file(const uint8_t *from, uint32_t offset, uint32_t length) {
    const ssize_t count = pwrite(file, from, length, (off_t)offset);
    return count == (ssize_t)length && fdatasync(file) == 0 ? MMOE_OK : MMOE_E_PAGE_READ;
}

mmoe_status mmoe_port_flash_erase(uint32_t offset, uint32_t length) {
    uint8_t erased[MMOE_NOR_ERASE_BYTES];
    mmoe_status status = offset % sizeof erased || length % sizeof erased ? MMOE_E_ARGUMENT : MMOE_OK;
    memset(erased, 0xFF, sizeof erased);
    for (uint32_t at = 0; at < length && status == MMOE_OK; at += sizeof erased)
        status = write_file(erased, offset + at, sizeof erased);
    return status;
}

mmoe_status mmoe_port_flash_program(uint32_t offset, const void *data, uint32_t length) {
    const uint8_t *from = data;
    uint8_t bytes[256];
    mmoe_status status = MMOE_OK;
    for (uint32_t at = 0, count; at < length && status == MMOE_OK; at += count) {
        count = length - at < sizeof bytes ? length - at : sizeof bytes;
        if (pread(file, bytes, count, (off_t)offset + at) != (ssize_t)count) return MMOE_E_PAGE_READ;
        for (uint32_t i = 0; i < count; i++) bytes[i] &= from[at + i];
        status = write_file(bytes, offset + at, count);
    }
    return status;
}
#endif
