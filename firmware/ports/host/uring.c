/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads through io_uring, by its system calls (io_uring_setup(2), io_uring_enter(2)). */
#define _GNU_SOURCE
#include <linux/io_uring.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "host_storage.h"
#include "mmoe_runtime.h"

static struct {
    int file;
    _Atomic uint32_t *sq_tail, *cq_head, *cq_tail;
    uint32_t *sq_array, sq_mask, cq_mask;
    struct io_uring_sqe *entries;
    struct io_uring_cqe *completions;
} ring = {.file = -1};

static void *map(size_t bytes, off_t what) {
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring.file, what);
    return memory == MAP_FAILED ? NULL : memory;
}

int host_uring_open(void) {
    struct io_uring_params p;
    memset(&p, 0, sizeof p);
    ring.file = (int)syscall(__NR_io_uring_setup, MMOE_READS, &p);
    if (ring.file < 0) return -1;
    char *sq = map(p.sq_off.array + p.sq_entries * sizeof(uint32_t), IORING_OFF_SQ_RING);
    char *cq = map(p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe), IORING_OFF_CQ_RING);
    ring.entries = map(p.sq_entries * sizeof(struct io_uring_sqe), IORING_OFF_SQES);
    if (!sq || !cq || !ring.entries) {
        close(ring.file);
        return -1;
    }
    ring.sq_tail = (_Atomic uint32_t *)(void *)(sq + p.sq_off.tail);
    ring.sq_mask = *(uint32_t *)(void *)(sq + p.sq_off.ring_mask);
    ring.sq_array = (uint32_t *)(void *)(sq + p.sq_off.array);
    ring.cq_head = (_Atomic uint32_t *)(void *)(cq + p.cq_off.head);
    ring.cq_tail = (_Atomic uint32_t *)(void *)(cq + p.cq_off.tail);
    ring.cq_mask = *(uint32_t *)(void *)(cq + p.cq_off.ring_mask);
    ring.completions = (struct io_uring_cqe *)(void *)(cq + p.cq_off.cqes);
    return 0;
}

int host_uring_start(const host_uring_read *read, uint64_t number) {
    const uint32_t tail = atomic_load(ring.sq_tail), index = tail & ring.sq_mask;
    struct io_uring_sqe *entry = &ring.entries[index];
    memset(entry, 0, sizeof *entry);
    entry->opcode = IORING_OP_READ;
    entry->flags = read->background ? IOSQE_ASYNC : 0;
    entry->fd = read->file;
    entry->addr = (uint64_t)(uintptr_t)read->to;
    entry->len = read->length;
    entry->off = read->offset;
    entry->user_data = number;
    ring.sq_array[index] = index;
    atomic_store(ring.sq_tail, tail + 1);
    if (syscall(__NR_io_uring_enter, ring.file, 1, 0, 0, NULL, 0) == 1) return 0;
    atomic_store(ring.sq_tail, tail); /* not taken: nobody may find it there later */
    return -1;
}

int host_uring_done(uint64_t *number, int32_t *result) {
    const uint32_t head = atomic_load(ring.cq_head);
    if (head == atomic_load(ring.cq_tail)) return 0;
    *number = ring.completions[head & ring.cq_mask].user_data;
    *result = ring.completions[head & ring.cq_mask].res;
    atomic_store(ring.cq_head, head + 1);
    return 1;
}
