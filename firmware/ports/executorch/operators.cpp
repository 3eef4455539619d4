/* SPDX-License-Identifier: Apache-2.0
 *
 * The steps of SPEC.md 3.5 and 3.6 as ExecuTorch operators, namespace mmoe: thin calls of kernels_cmsis and the firmware, so that a
 * program has the bits of every other runtime. Rows of a tensor are tokens, one after the other; matrices are uint8 blobs as
 * SPEC.md 5 lays them out. */
#include <array>
#include <cstring>
#include <utility>

#include <executorch/extension/kernel_util/make_boxed_from_unboxed_functor.h>
#include <executorch/runtime/kernel/kernel_includes.h>

#include "in_program.h"
#include "moe_block.h"

using executorch::aten::Tensor;
using executorch::runtime::Error;
using executorch::runtime::KernelRuntimeContext;
using mmoe::check_aligned;
using mmoe::lay_out;
using mmoe::resize_rows;
using mmoe::rows_of;
using mmoe::view;

namespace {

/* Temporary memory of one call, 16-byte aligned. */
uint8_t* take_scratch(KernelRuntimeContext& context, size_t size) {
    auto memory = context.allocate_temp(size, 16);
    if (!memory.ok()) context.fail(Error::MemoryAllocationFailed);
    return memory.ok() ? static_cast<uint8_t*>(memory.get()) : nullptr;
}

bool succeed(KernelRuntimeContext& context, Error error) {
    if (error != Error::Ok) context.fail(error);
    return error == Error::Ok;
}

bool succeed(KernelRuntimeContext& context, mmoe_status status) { return succeed(context, mmoe::note_failure(status)); }

Tensor& embed_out(KernelRuntimeContext& context, const Tensor& tokens, const Tensor& blob, int64_t rows, int64_t columns,
                  Tensor& out) {
    std::array<executorch::aten::SizesType, 2> sizes{static_cast<executorch::aten::SizesType>(tokens.numel()),
                                                     static_cast<executorch::aten::SizesType>(columns)};
    if (!succeed(context, executorch::runtime::resize_tensor(out, {sizes.data(), 2}))) return out;
    if (!succeed(context, check_aligned(blob))) return out;
    const mmoe_matrix m = view(lay_out(rows, columns, 8, 0, nullptr), blob);
    for (ssize_t i = 0; i < tokens.numel(); i++) {
        const int64_t id = tokens.const_data_ptr<int64_t>()[i];
        if (id < 0 || id >= rows) return succeed(context, MMOE_E_TOKEN), out;
        mmoe_embed_s8(&m, static_cast<uint32_t>(id), out.mutable_data_ptr<float>() + i * columns);
    }
    return out;
}

Tensor& rmsnorm_out(KernelRuntimeContext& context, const Tensor& x, const Tensor& weight, double eps, Tensor& out) {
    const auto n = static_cast<size_t>(weight.numel());
    if (!succeed(context, resize_rows(x, weight.numel(), out))) return out;
    for (size_t row = 0; row < rows_of(x); row++)
        mmoe_rmsnorm_f32(x.const_data_ptr<float>() + row * n, weight.const_data_ptr<float>(), static_cast<uint32_t>(n),
                         static_cast<float>(eps), out.mutable_data_ptr<float>() + row * n);
    return out;
}

Tensor& linear_out(KernelRuntimeContext& context, const Tensor& x, const Tensor& blob, int64_t rows, int64_t columns,
                   int64_t bits, Tensor& out) {
    const size_t count = rows_of(x), vector = MMOE_VECTOR_BYTES(static_cast<size_t>(columns));
    if (!succeed(context, resize_rows(x, rows, out)) || !succeed(context, check_aligned(blob))) return out;
    uint8_t* scratch = take_scratch(context, MMOE_AT_ONCE * vector + MMOE_MATMUL_SCRATCH_BYTES(static_cast<size_t>(columns), MMOE_AT_ONCE));
    if (!scratch) return out;
    const mmoe_matrix m = view(lay_out(rows, columns, bits, 0, nullptr), blob);
    for (size_t row = 0, batch; row < count; row += batch) {
        const mmoe_vector* in[MMOE_AT_ONCE];
        float* products[MMOE_AT_ONCE];
        for (batch = 0; batch < MMOE_AT_ONCE && row + batch < count; batch++) {
            auto* q = reinterpret_cast<mmoe_vector*>(scratch + batch * vector);
            const float* from = x.const_data_ptr<float>() + (row + batch) * static_cast<size_t>(columns);
            if (!succeed(context, mmoe_quantize_s8(from, static_cast<uint32_t>(columns), q))) return out;
            in[batch] = q;
            products[batch] = out.mutable_data_ptr<float>() + (row + batch) * static_cast<size_t>(rows);
        }
        mmoe_matmul(&m, in, products, static_cast<uint32_t>(batch), scratch + MMOE_AT_ONCE * vector);
    }
    return out;
}

/* The pre-rotary norms of SPEC.md 3.5 step 2.1; a weight's size says how many floats are normed together. */
Tensor& norm_heads_out(KernelRuntimeContext& context, const Tensor& qkv, const Tensor& q_weight, const Tensor& k_weight,
                       int64_t queries, int64_t keys, double eps, Tensor& out) {
    const int64_t stride = qkv.size(qkv.dim() - 1);
    if (!succeed(context, resize_rows(qkv, stride, out))) return out;
    float* y = out.mutable_data_ptr<float>();
    std::memcpy(y, qkv.const_data_ptr<float>(), 4 * static_cast<size_t>(qkv.numel()));
    const auto norm = [&](const Tensor& weight, int64_t count) {
        const int64_t n = weight.numel();
        for (int64_t done = 0; done < count; done += n, y += n)
            mmoe_rmsnorm_f32(y, weight.const_data_ptr<float>(), static_cast<uint32_t>(n), static_cast<float>(eps), y);
    };
    for (size_t row = 0; row < rows_of(qkv); row++, y += stride - queries - keys) {
        norm(q_weight, queries);
        norm(k_weight, keys);
    }
    return out;
}

Tensor& attention_out(KernelRuntimeContext& context, const Tensor& qkv, const Tensor& cosine, const Tensor& sine, Tensor& kv,
                      const Tensor& position, int64_t heads, int64_t kv_heads, bool qk_norm, double eps, Tensor& out) {
    const int64_t p = position.const_data_ptr<int64_t>()[0], length = cosine.size(0), dim = 2 * cosine.size(1);
    const auto count = static_cast<int64_t>(rows_of(qkv));
    if (p < 0 || p > length - count) return succeed(context, MMOE_E_CONTEXT), out;
    if (!succeed(context, resize_rows(qkv, heads * dim, out)) || !succeed(context, check_aligned(kv))) return out;
    mmoe_attention a{};
    a.heads = static_cast<uint16_t>(heads);
    a.kv_heads = static_cast<uint16_t>(kv_heads);
    a.head_dim = static_cast<uint16_t>(dim);
    a.context = static_cast<uint16_t>(length);
    a.qk_norm = qk_norm;
    a.eps = static_cast<float>(eps);
    a.cosine = cosine.const_data_ptr<float>();
    a.sine = sine.const_data_ptr<float>();
    const int64_t stride = (heads + 2 * kv_heads) * dim;
    const auto row_bytes = 4 * static_cast<size_t>(stride);
    uint8_t* scratch = take_scratch(context, MMOE_PAD(row_bytes, 16) + MMOE_ATTENTION_SCRATCH_BYTES(heads, kv_heads, length, dim));
    if (!scratch) return out;
    for (int64_t row = 0; row < count; row++) {
        std::memcpy(scratch, qkv.const_data_ptr<float>() + row * stride, row_bytes);
        const mmoe_status status = mmoe_attention_s8(&a, reinterpret_cast<float*>(scratch), kv.mutable_data_ptr<uint8_t>(),
                                                     static_cast<uint32_t>(p + row), out.mutable_data_ptr<float>() + row * heads * dim,
                                                     scratch + MMOE_PAD(row_bytes, 16));
        if (!succeed(context, status)) return out;
    }
    return out;
}

/* out (1, n): the mean of a classifier's rows so far, SPEC.md 3.8. sums (2, n): of the rows before the positions in ends (2); a
 * pass writes the one that it does not read, so one that fails and is tried again finds what it began with. */
Tensor& pool_out(KernelRuntimeContext& context, const Tensor& x, Tensor& sums, Tensor& ends, const Tensor& position, Tensor& out) {
    const auto n = static_cast<size_t>(x.size(x.dim() - 1)), rows = rows_of(x);
    const std::array<executorch::aten::SizesType, 2> sizes{1, static_cast<executorch::aten::SizesType>(n)};
    if (!succeed(context, executorch::runtime::resize_tensor(out, {sizes.data(), 2}))) return out;
    const int64_t p = position.const_data_ptr<int64_t>()[0];
    int64_t* end = ends.mutable_data_ptr<int64_t>();
    const int before = p != 0 && end[0] == p ? 0 : 1, now = 1 - before;
    if (p != 0 && end[before] != p) return succeed(context, MMOE_E_CONTEXT), out;
    float *sum = sums.mutable_data_ptr<float>() + now * n, *mean = out.mutable_data_ptr<float>();
    if (p != 0)
        std::memcpy(sum, sums.const_data_ptr<float>() + before * n, n * sizeof *sum);
    else
        std::memset(sum, 0, n * sizeof *sum);
    for (size_t row = 0; row < rows; row++) mmoe_add_f32(x.const_data_ptr<float>() + row * n, static_cast<uint32_t>(n), sum);
    end[now] = p + static_cast<int64_t>(rows);
    std::memset(mean, 0, n * sizeof *mean);
    mmoe_accumulate_f32(sum, 1.0f / static_cast<float>(static_cast<int32_t>(end[now])), static_cast<uint32_t>(n), mean);
    return out;
}

/* out = x + MoE(n), SPEC.md 3.5 steps 2.7 and 2.8: shared expert, router and the chosen experts in one, read where they lie.
 * experts: pages (E, bytes of one) */
Tensor& moe_out(KernelRuntimeContext& context, const Tensor& x, const Tensor& n, const Tensor& router, const Tensor& bias,
                const Tensor& shared, const Tensor& shared_gate, const Tensor& next_router, const Tensor& next_bias,
                const Tensor& experts, int64_t top_k, int64_t width, int64_t shared_width, int64_t bits, bool softmax,
                bool as_scored, double scaling, Tensor& out) {
    const int64_t columns = n.size(n.dim() - 1);
    if (!succeed(context, resize_rows(x, columns, out))) return out;
    if (!succeed(context, check_aligned(shared)) || !succeed(context, check_aligned(experts))) return out;
    std::memcpy(out.mutable_data_ptr<float>(), x.const_data_ptr<float>(), 4 * static_cast<size_t>(x.numel()));

    const mmoe::MoeBlock block({x, n, router, bias, shared, shared_gate, next_router, next_bias}, {top_k, width, shared_width, bits, softmax, as_scored, scaling});
    size_t end = 0;
    mmoe_in_program at{};
    at.pages = experts.const_data_ptr<uint8_t>();
    at.page_bytes = static_cast<size_t>(experts.size(1));
    at.gate_up = lay_out(2 * width, columns, bits, 0, &end);
    at.down = lay_out(columns, width, bits, MMOE_PAD(end, 16), nullptr);

    const auto rows = static_cast<uint32_t>(rows_of(n));
    uint8_t* scratch = take_scratch(context, mmoe_moe_call_bytes(&block.moe, rows));
    if (!scratch) return out;
    succeed(context, mmoe_moe_in_program(&at, &block.moe, rows, n.const_data_ptr<float>(), out.mutable_data_ptr<float>(), scratch));
    return out;
}

EXECUTORCH_LIBRARY(mmoe, "embed.out", embed_out);
EXECUTORCH_LIBRARY(mmoe, "rmsnorm.out", rmsnorm_out);
EXECUTORCH_LIBRARY(mmoe, "linear.out", linear_out);
EXECUTORCH_LIBRARY(mmoe, "norm_heads.out", norm_heads_out);
EXECUTORCH_LIBRARY(mmoe, "attention.out", attention_out);
EXECUTORCH_LIBRARY(mmoe, "pool.out", pool_out);
EXECUTORCH_LIBRARY(mmoe, "moe.out", moe_out);

}  // namespace

static thread_local int last_failure = MMOE_OK; /* of the programs that this thread runs */

Error mmoe::note_failure(mmoe_status status) {
    if (status != MMOE_OK) last_failure = status;
    switch (status) {
    case MMOE_OK: return Error::Ok;
    case MMOE_E_NUMERIC: return Error::InvalidState;
    case MMOE_E_PAGE_CRC:
    case MMOE_E_PAGE_READ:
    case MMOE_E_IMAGE: return Error::InvalidExternalData;
    default: return Error::InvalidArgument;
    }
}

/* The mmoe_status behind the last error on this thread, which is forgotten then; 0 where the error was not ours */
extern "C" __attribute__((visibility("default"))) int mmoe_executorch_failure(void) { return std::exchange(last_failure, MMOE_OK); }
