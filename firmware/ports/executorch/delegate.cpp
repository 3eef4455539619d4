/* SPDX-License-Identifier: Apache-2.0
 *
 * Backend MmoePagedExperts: the MoE block of a layer, its experts read from the program's named data (in the .pte, or in a .ptd
 * beside it) into slots when they are chosen. toolkit/mmoe_embed/executorch/paging.py writes what this reads. */
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <memory>
#include <mutex>
#include <system_error>

#include <executorch/runtime/backend/interface.h>
#include <executorch/runtime/platform/log.h>

#include "in_program.h"
#include "moe_block.h"
#include "paged.h"
#include "reader.h"

using executorch::aten::Tensor;
using namespace executorch::runtime;

namespace {

constexpr char kPlan[] = "mmoe_paged_plan", kExpert[] = "mmoe_expert_%05" PRIu32;

/* What the exporter says of one block, little-endian */
struct Block {
    uint32_t layer; /* among those with experts */
    uint32_t top_k, width, shared_width, bits, softmax, as_scored;
    float scaling;
    uint32_t argument[8]; /* which of the arguments are x, n, router, bias, shared, shared_gate, next_router, next_bias */
};

struct Handle {
    Block block;
    const NamedDataMap* data;
};

/* The firmware's pager serves one model: all of it is under this lock. */
std::mutex lock;
uint32_t handles = 0;
const NamedDataMap* reading = nullptr; /* of the call that runs */
std::unique_ptr<mmoe::Reader> reader;  /* while a plan is open; its thread ends with the program at the latest */

/* On the reader's thread, while others load from the same file: a DataLoader is made for that. */
mmoe_status copy_page(const void* from, uint32_t number, uint32_t offset, void* to, uint32_t length) {
    char key[32];
    std::snprintf(key, sizeof key, kExpert, number);
    auto page = static_cast<const NamedDataMap*>(from)->get_data(key);
    if (!page.ok() || offset > page->size() || length > page->size() - offset) return MMOE_E_PAGE_READ;
    std::memcpy(to, static_cast<const uint8_t*>(page->data()) + offset, length);
    page->Free();
    return MMOE_OK;
}

mmoe_status open_first(const void* plan, uint32_t size) {
    try {
        reader = std::make_unique<mmoe::Reader>(copy_page);
    } catch (const std::system_error&) {
        ET_LOG(Error, "there is no thread for reading experts");
        return MMOE_E_UNSUPPORTED;
    }
    const mmoe_status status = mmoe_paged_open(plan, size);
    if (status != MMOE_OK) reader.reset();
    return status;
}

/* Opens the plan of the first block of a program; the other ones must have the same. */
Error open_plan(const NamedDataMap* data) {
    auto plan = data->get_data(kPlan);
    if (!plan.ok()) return mmoe::note_failure(MMOE_E_PAGE_READ);
    const auto size = static_cast<uint32_t>(plan->size());
    reading = data;
    mmoe_status status = MMOE_OK;
    if (handles == 0) {
        status = open_first(plan->data(), size);
    } else if (!mmoe_paged_is_open(plan->data(), size)) {
        ET_LOG(Error, "a program with paged experts is loaded already; only one at a time in a process");
        status = MMOE_E_UNSUPPORTED;
    }
    plan->Free();
    return mmoe::note_failure(status);
}

class PagedExperts final : public BackendInterface {
 public:
    bool is_available() const override { return true; }

    Result<DelegateHandle*> init(BackendInitContext& context, FreeableBuffer* processed, ArrayRef<CompileSpec>) const override {
        auto handle = std::make_unique<Handle>();
        handle->data = context.get_named_data_map();
        if (processed->size() != sizeof handle->block) return Error::DelegateInvalidCompatibility;
        if (!handle->data) return mmoe::note_failure(MMOE_E_PAGE_READ); /* the .ptd was not given */
        std::memcpy(&handle->block, processed->data(), sizeof handle->block);
        processed->Free();
        if (handle->block.layer > UINT16_MAX) return Error::DelegateInvalidCompatibility;
        const std::lock_guard<std::mutex> guard(lock);
        const Error error = open_plan(handle->data);
        if (error != Error::Ok) return error;
        handles++;
        return static_cast<DelegateHandle*>(handle.release());
    }

    Error execute(BackendExecutionContext& context, DelegateHandle* opaque, Span<EValue*> arguments) const override {
        const auto* handle = static_cast<const Handle*>(opaque);
        const Block& b = handle->block;
        for (const EValue* each : arguments)
            if (!each->isTensor()) return Error::InvalidProgram;
        for (const uint32_t index : b.argument) /* the last argument is the output */
            if (static_cast<size_t>(index) + 1 >= arguments.size()) return Error::InvalidProgram;
        const auto argument = [&](int i) -> const Tensor& { return arguments[b.argument[i]]->toTensor(); };
        const Tensor &x = argument(0), &n = argument(1);
        Tensor& out = arguments[arguments.size() - 1]->toTensor();
        if (mmoe::check_aligned(argument(4)) != MMOE_OK) return mmoe::note_failure(MMOE_E_ARGUMENT);
        mmoe::MoeBlock block({x, n, argument(2), argument(3), argument(4), argument(5), argument(6), argument(7)},
                             {b.top_k, b.width, b.shared_width, b.bits, b.softmax != 0, b.as_scored != 0, b.scaling});
        block.moe.layer = static_cast<uint16_t>(b.layer);
        block.next.layer = static_cast<uint16_t>(b.layer + 1);
        const Error resized = mmoe::resize_rows(x, block.moe.hidden, out);
        if (resized != Error::Ok) return resized;
        const auto rows = static_cast<uint32_t>(mmoe::rows_of(n));
        void* scratch = context.allocate(mmoe_moe_call_bytes(&block.moe, rows), 16);
        if (!scratch) return Error::MemoryAllocationFailed;
        std::memcpy(out.mutable_data_ptr<float>(), x.const_data_ptr<float>(), 4 * static_cast<size_t>(x.numel()));
        const std::lock_guard<std::mutex> guard(lock);
        reading = handle->data;
        return mmoe::note_failure(
            mmoe_paged_run(&block.moe, rows, n.const_data_ptr<float>(), out.mutable_data_ptr<float>(), scratch));
    }

    void destroy(DelegateHandle* opaque) const override {
        const std::lock_guard<std::mutex> guard(lock);
        delete static_cast<Handle*>(opaque);
        if (--handles == 0) {
            reader.reset(); /* before the slots that it writes to */
            mmoe_paged_close();
        } else {
            reader->settle(); /* the handle's data may go now */
        }
    }
};

PagedExperts backend;
[[maybe_unused]] const Error registered = register_backend({"MmoePagedExperts", &backend});

}  // namespace

mmoe_status mmoe_paged_read_start(uint32_t number, uint32_t offset, void* to, uint32_t length) {
    return reader->start(reading, number, offset, to, length);
}

int mmoe_paged_read_done(void) { return reader->done(); }
uint64_t mmoe_paged_read_ended(void) { return reader->ended(); }

/* How often an expert was in a slot when it was chosen, how often it was not, how many were read on a guess, and what was read */
extern "C" __attribute__((visibility("default"))) void mmoe_executorch_paging(uint32_t* hits, uint32_t* misses,
                                                                              uint32_t* prefetched, uint64_t* bytes) {
    const std::lock_guard<std::mutex> guard(lock);
    const mmoe_paged_counts counts = mmoe_paged_count();
    *hits = counts.hits;
    *misses = counts.misses;
    *prefetched = counts.prefetched;
    *bytes = counts.bytes_loaded;
}
