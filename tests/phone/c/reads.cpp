/* SPDX-License-Identifier: Apache-2.0
 *
 * The reader of paged experts, with pages that take their time: prints `ok`, or what is wrong. */
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>

#include "reader.h"

using namespace std::chrono;

static std::atomic<int> slow_ms{0}, begun{0}, over{0};

extern "C" uint64_t mmoe_port_ticks(void) {
    return static_cast<uint64_t>(duration_cast<nanoseconds>(steady_clock::now().time_since_epoch()).count());
}

/* Page n is bytes of n; page 13 cannot be read. */
static mmoe_status copy(const void*, uint32_t number, uint32_t, void* to, uint32_t length) {
    begun++;
    std::this_thread::sleep_for(milliseconds(slow_ms));
    std::memset(to, static_cast<int>(number), length);
    over++;
    return number == 13 ? MMOE_E_PAGE_READ : MMOE_OK;
}

static int answer(mmoe::Reader& reader) {
    const auto start = steady_clock::now();
    for (;;) {
        const int state = reader.done();
        if (state) return state;
        if (steady_clock::now() - start > seconds(10)) return 99;
    }
}

#define CHECK(what) \
    if (!(what)) return std::printf("line %d: %s\n", __LINE__, #what), 1

static int read_in_order() {
    static uint8_t page[MMOE_READS][64];
    mmoe::Reader reader(copy);
    uint64_t last = 0;
    for (uint32_t round = 0; round < 50; round++) {
        for (uint32_t i = 0; i < MMOE_READS; i++) CHECK(reader.start(nullptr, round + i, 0, page[i], 64) == MMOE_OK);
        CHECK(reader.start(nullptr, 0, 0, page[0], 64) == MMOE_E_ARGUMENT);
        for (uint32_t i = 0; i < MMOE_READS; i++) {
            CHECK(answer(reader) == (round + i == 13 ? MMOE_E_PAGE_READ : 1));
            CHECK(page[i][63] == round + i);
            CHECK(reader.ended() >= last);
            last = reader.ended();
        }
        CHECK(reader.done() == 1);
    }
    return 0;
}

static int end_while_reading() {
    slow_ms = 50;
    for (int settled = 0; settled < 2; settled++) {
        static uint8_t page[MMOE_READS][64];
        begun = over = 0;
        {
            mmoe::Reader reader(copy);
            for (uint32_t i = 0; i < MMOE_READS; i++) CHECK(reader.start(nullptr, i, 0, page[i], 64) == MMOE_OK);
            while (begun == 0) std::this_thread::yield();
            if (settled) reader.settle();
        }
        std::memset(page, 0, sizeof page); /* nobody writes to it any more */
        CHECK(begun == over);
        CHECK(settled ? over == MMOE_READS : over < MMOE_READS);
    }
    return 0;
}

int main() {
    if (read_in_order() || end_while_reading()) return 1;
    std::puts("ok");
    return 0;
}
