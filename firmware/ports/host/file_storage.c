/* SPDX-License-Identifier: Apache-2.0
 *
 * The expert image is a file, of which MMOE_READS reads are under way at once: by io_uring where the kernel has it, else by pread
 * on a background thread, which tells how far it is. Whole pages go from the disk into their slots, past the system's own cache,
 * where they are aligned as that asks for (O_DIRECT): what it cached would take memory that the plan does not count. io_uring does not
 * tell when a read ended: what counts is when it was last seen running, so that load_ticks are never too many. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host_storage.h"
#include "mmoe_runtime.h"

enum { PIECE_BYTES = 1 << 16, THREAD_STACK_BYTES = 1 << 17 };

typedef struct {
    char *to;
    uint64_t offset;
    uint32_t length;
    _Atomic uint32_t arrived;
    _Atomic int state; /* 0 running, 1 finished, or a status */
    uint64_t ended;
} request;

static int file = -1, direct = -1; /* the same file; direct -1: the system has no way past its cache there */
static uint32_t unit;              /* bytes that offset, length and memory of a direct read are multiples of */
static int uses_uring;
static struct {
    request of[MMOE_READS];
    uint32_t first, count; /* those that were not answered yet */
    uint64_t ended;        /* the one that was answered last */
} reads;

/* Which of the two takes what is left of a read */
static int file_for(const request *r, uint32_t arrived) {
    const uint64_t all = (uintptr_t)(r->to + arrived) | (r->offset + arrived) | (r->length - arrived);
    return direct >= 0 && all % unit == 0 ? direct : file;
}

/* --- the thread ----------------------------------------------------------------------------------------------------------- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wakes = PTHREAD_COND_INITIALIZER;
static uint32_t ordered;

static void read_pieces(request *r) {
    uint32_t arrived = 0;
    while (arrived < r->length) {
        const int from = file_for(r, arrived);
        const uint32_t left = r->length - arrived, piece = from == direct || left < PIECE_BYTES ? left : PIECE_BYTES;
        const ssize_t count = pread(from, r->to + arrived, piece, (off_t)(r->offset + arrived));
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) break; /* an error, or the file is shorter than its table says */
        arrived += (uint32_t)count;
        atomic_store(&r->arrived, arrived);
    }
    r->ended = mmoe_port_ticks();
    atomic_store(&r->state, arrived == r->length ? 1 : MMOE_E_PAGE_READ);
}

static void *serve_reads(void *unused) {
    (void)unused;
    for (uint32_t next = 0;; next = (next + 1) % MMOE_READS) {
        pthread_mutex_lock(&lock);
        while (!ordered) pthread_cond_wait(&wakes, &lock);
        ordered--;
        pthread_mutex_unlock(&lock);
        read_pieces(&reads.of[next]);
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

static void open_direct(const char *path) {
#ifdef STATX_DIOALIGN
    struct statx s;
    if (statx(AT_FDCWD, path, 0, STATX_DIOALIGN, &s) || !(s.stx_mask & STATX_DIOALIGN) || s.stx_dio_offset_align == 0) return;
    unit = s.stx_dio_offset_align > s.stx_dio_mem_align ? s.stx_dio_offset_align : s.stx_dio_mem_align;
    direct = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
#else
    (void)path;
#endif
}

int host_storage_open(const char *path, const char *io) {
    char own[4096];
    if (!path && beside_program(own, sizeof own) == 0) path = own;
    file = path ? open(path, OPEN_FLAGS) : -1;
    if (file < 0) {
        fprintf(stderr, "cannot open the expert image %s: %s\n", path ? path : "", strerror(errno));
        return -1;
    }
    open_direct(path);
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

/* What is left of a read, by io_uring; 0 where it was taken */
static int submit(request *r) {
    const uint32_t arrived = atomic_load(&r->arrived);
    const int from = file_for(r, arrived);
    const host_uring_read part = {from, from == file, r->to + arrived, r->offset + arrived, r->length - arrived};
    return host_uring_start(&part, (uint64_t)(r - reads.of));
}

mmoe_status mmoe_port_read_start(void *dst, uint32_t offset, uint32_t length) {
    if (reads.count == MMOE_READS) return MMOE_E_ARGUMENT;
    request *r = &reads.of[(reads.first + reads.count) % MMOE_READS];
    r->to = dst;
    r->offset = offset;
    r->length = length;
    r->ended = mmoe_port_ticks();
    atomic_store(&r->arrived, 0);
    atomic_store(&r->state, 0);
    if (uses_uring) {
        if (submit(r)) return MMOE_E_PAGE_READ;
    } else {
        pthread_mutex_lock(&lock);
        ordered++;
        pthread_cond_signal(&wakes);
        pthread_mutex_unlock(&lock);
    }
    reads.count++;
    return MMOE_OK;
}

/* A read that io_uring gave only a part of goes on behind it. */
static void end_uring(request *r, int32_t result) {
    const uint32_t arrived = atomic_load(&r->arrived) + (result > 0 ? (uint32_t)result : 0);
    atomic_store(&r->arrived, arrived);
    const int goes_on = result > 0 || result == -EINTR || result == -EAGAIN;
    if (goes_on && arrived < r->length && submit(r) == 0) return;
    atomic_store(&r->state, arrived == r->length ? 1 : MMOE_E_PAGE_READ);
}

static void follow_uring(void) {
    uint64_t number;
    int32_t result;
    while (host_uring_done(&number, &result)) end_uring(&reads.of[number], result);
    const uint64_t now = mmoe_port_ticks();
    for (uint32_t i = 0; i < reads.count; i++) {
        request *r = &reads.of[(reads.first + i) % MMOE_READS];
        if (atomic_load(&r->state) == 0) r->ended = now;
    }
}

int mmoe_port_read_done(void) {
    if (reads.count == 0) return 1;
    const request *r = &reads.of[reads.first];
    if (uses_uring) follow_uring();
    const int state = atomic_load(&r->state);
    if (state == 0) {
        sched_yield(); /* the one that waits has nothing better to do than the one that reads */
        return 0;
    }
    reads.ended = r->ended;
    reads.first = (reads.first + 1) % MMOE_READS;
    reads.count--;
    return state;
}

uint32_t mmoe_port_read_progress(void) { return atomic_load(&reads.of[reads.first].arrived); }
uint64_t mmoe_port_read_ended(void) { return reads.ended; }

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
