/* SPDX-License-Identifier: Apache-2.0 */
#include "reader.h"

namespace mmoe {

void Reader::serve() {
    std::unique_lock<std::mutex> guard(mutex_);
    for (uint32_t next = 0;; next = (next + 1) % MMOE_READS) {
        ordered_.wait(guard, [this] { return ends_ || left_; });
        if (ends_) return;
        Read& read = reads_[next];
        guard.unlock();
        const mmoe_status status = copy_(read.from, read.number, read.offset, read.to, read.length);
        const uint64_t ended = mmoe_port_ticks();
        guard.lock();
        read.state = status == MMOE_OK ? 1 : status;
        read.ended = ended;
        if (--left_ == 0) settled_.notify_all();
    }
}

Reader::~Reader() {
    {
        const std::lock_guard<std::mutex> guard(mutex_);
        ends_ = true;
    }
    ordered_.notify_one();
    thread_.join();
}

mmoe_status Reader::start(const void* from, uint32_t number, uint32_t offset, void* to, uint32_t length) {
    const std::lock_guard<std::mutex> guard(mutex_);
    if (count_ == MMOE_READS) return MMOE_E_ARGUMENT;
    reads_[(first_ + count_) % MMOE_READS] = {from, to, number, offset, length, 0, 0};
    count_++;
    left_++;
    ordered_.notify_one();
    return MMOE_OK;
}

int Reader::done() {
    std::unique_lock<std::mutex> guard(mutex_);
    if (count_ == 0) return 1;
    const Read& read = reads_[first_];
    const int state = read.state;
    if (state == 0) {
        guard.unlock();
        std::this_thread::yield(); /* the one that waits has nothing better to do than the one that reads */
        return 0;
    }
    ended_ = read.ended;
    first_ = (first_ + 1) % MMOE_READS;
    count_--;
    return state;
}

void Reader::settle() {
    std::unique_lock<std::mutex> guard(mutex_);
    settled_.wait(guard, [this] { return left_ == 0; });
}

}  // namespace mmoe
