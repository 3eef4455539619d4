/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MMOE_READER_H
#define MMOE_READER_H

#include <array>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>

#include "mmoe_runtime.h"

namespace mmoe {

/* Copies bytes of page `number` of what `from` stands for; MMOE_OK or MMOE_E_PAGE_READ. */
using CopyPage = mmoe_status (*)(const void* from, uint32_t number, uint32_t offset, void* to, uint32_t length);

/* Reads in the background, one after the other on a thread of its own, answered in the order they were started. Its functions are
 * called by one thread at a time. */
class Reader {
 public:
    /* std::system_error: there is no thread. */
    explicit Reader(CopyPage copy) : copy_(copy), thread_([this] { serve(); }) {}
    /* Waits for the read that runs, and drops those behind it. */
    ~Reader();
    Reader(const Reader&) = delete;
    Reader& operator=(const Reader&) = delete;

    /* As mmoe_port_read_start, _done and _ended */
    mmoe_status start(const void* from, uint32_t number, uint32_t offset, void* to, uint32_t length);
    int done();
    uint64_t ended() const { return ended_; }

    /* Waits until every read is over, answered or not: what `from` stands for may go then. */
    void settle();

 private:
    struct Read {
        const void* from;
        void* to;
        uint32_t number, offset, length;
        int state; /* 0 not over, 1 finished, or a status */
        uint64_t ended;
    };

    void serve();

    CopyPage copy_;
    std::mutex mutex_;
    std::condition_variable ordered_, settled_;
    std::array<Read, MMOE_READS> reads_{};
    uint32_t first_ = 0, count_ = 0; /* those that were not answered */
    uint32_t left_ = 0;              /* those that are not over */
    uint64_t ended_ = 0;             /* the one that was answered last */
    bool ends_ = false;
    std::thread thread_; /* last: it starts when all else is there */
};

}  // namespace mmoe

#endif
