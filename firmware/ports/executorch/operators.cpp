/* SPDX-License-Identifier: Apache-2.0
 *
 * The steps of SPEC.md 3.5 as ExecuTorch operators, namespace mmoe: thin calls of kernels_cmsis, so that a program has the
 * bits of every other runtime. Matrices are uint8 blobs as SPEC.md 5 lays them out. */
#include <cstring>

#include <executorch/extension/kernel_util/make_boxed_from_unboxed_functor.h>
#include <executorch/runtime/kernel/kernel_includes.h>

#include "mmoe_kernels.h"

using executorch::aten::Tensor;
using executorch::runtime::Error;
using executorch::runtime::KernelRuntimeContext;

namespace {

constexpr int64_t kMaxTopK = 16;

struct Matrix {
    mmoe_matrix view;
    size_t size; /* bytes of the blob, to the end of the row scales */
};

Matrix view_matrix(const uint8_t* blob, int64_t rows, int64_t columns, int64_t bits) {
    const size_t tiles = MMOE_PAD(static_cast<size_t>(rows), 4) / 4;
    const size_t blocks = bits == 4 ? MMOE_GROUPS(static_cast<size_t>(columns)) : MMOE_PAD(static_cast<size_t>(columns), 16) / 16;
    const size_t groups_at = tiles * blocks * 64, scales_at = groups_at + (bits == 4 ? tiles * blocks * 4 : 0);
    Matrix m;
    m.view.rows = static_cast<uint32_t>(rows);
    m.view.columns = static_cast<uint16_t>(columns);
    m.view.bits = static_cast<uint16_t>(bits);
    m.view.weights = blob;
    m.view.group_scales = bits == 4 ? blob + groups_at : nullptr;
    m.view.row_scales = reinterpret_cast<const float*>(blob + scales_at);
    m.size = scales_at + tiles * 16;
    return m;
}

/* Temporary memory of one call, 16-byte aligned. */
uint8_t* take_scratch(KernelRuntimeContext& context, size_t size) {
    auto memory = context.allocate_temp(size, 16);
    return memory.ok() ? static_cast<uint8_t*>(memory.get()) : nullptr;
}

bool succeed(KernelRuntimeContext& context, mmoe_status status) {
    if (status != MMOE_OK) context.fail(status == MMOE_E_NUMERIC ? Error::InvalidState : Error::InvalidArgument);
    return status == MMOE_OK;
}

Tensor& embed_out(KernelRuntimeContext& context, const Tensor& token, const Tensor& blob, int64_t rows, int64_t columns,
                  Tensor& out) {
    const int64_t id = token.const_data_ptr<int64_t>()[0];
    if (id < 0 || id >= rows) {
        context.fail(Error::InvalidArgument);
        return out;
    }
    const Matrix m = view_matrix(blob.const_data_ptr<uint8_t>(), rows, columns, 8);
    mmoe_embed_s8(&m.view, static_cast<uint32_t>(id), out.mutable_data_ptr<float>());
    return out;
}

Tensor& rmsnorm_out(KernelRuntimeContext&, const Tensor& x, const Tensor& weight, double eps, Tensor& out) {
    mmoe_rmsnorm_f32(x.const_data_ptr<float>(), weight.const_data_ptr<float>(), static_cast<uint32_t>(x.numel()),
                     static_cast<float>(eps), out.mutable_data_ptr<float>());
    return out;
}

Tensor& linear_out(KernelRuntimeContext& context, const Tensor& x, const Tensor& blob, int64_t rows, int64_t columns,
                   int64_t bits, Tensor& out) {
    uint8_t* scratch = take_scratch(context, MMOE_VECTOR_BYTES(static_cast<size_t>(columns)) + 16 + MMOE_PAD(4 * rows, 16));
    if (!scratch) return context.fail(Error::MemoryAllocationFailed), out;
    auto* vector = reinterpret_cast<mmoe_vector*>(scratch);
    if (!succeed(context, mmoe_quantize_s8(x.const_data_ptr<float>(), static_cast<uint32_t>(columns), vector))) return out;
    const Matrix m = view_matrix(blob.const_data_ptr<uint8_t>(), rows, columns, bits);
    mmoe_matvec(&m.view, vector, out.mutable_data_ptr<float>());
    return out;
}

/* The pre-rotary norms of SPEC.md 3.5 step 2.1; a weight's size says how many floats are normed together. */
Tensor& norm_heads_out(KernelRuntimeContext&, const Tensor& qkv, const Tensor& q_weight, const Tensor& k_weight,
                       int64_t queries, int64_t keys, double eps, Tensor& out) {
    float* y = out.mutable_data_ptr<float>();
    std::memcpy(y, qkv.const_data_ptr<float>(), 4 * static_cast<size_t>(qkv.numel()));
    const auto norm = [&](const Tensor& weight, int64_t count) {
        const int64_t n = weight.numel();
        for (int64_t done = 0; done < count; done += n, y += n)
            mmoe_rmsnorm_f32(y, weight.const_data_ptr<float>(), static_cast<uint32_t>(n), static_cast<float>(eps), y);
    };
    norm(q_weight, queries);
    norm(k_weight, keys);
    return out;
}

Tensor& attention_out(KernelRuntimeContext& context, const Tensor& qkv, const Tensor& cosine, const Tensor& sine, Tensor& kv,
                      const Tensor& position, int64_t heads, int64_t kv_heads, bool qk_norm, double eps, Tensor& out) {
    const int64_t p = position.const_data_ptr<int64_t>()[0], length = cosine.size(0), dim = 2 * cosine.size(1);
    if (p < 0 || p >= length) {
        context.fail(Error::InvalidArgument);
        return out;
    }
    mmoe_attention a{};
    a.heads = static_cast<uint16_t>(heads);
    a.kv_heads = static_cast<uint16_t>(kv_heads);
    a.head_dim = static_cast<uint16_t>(dim);
    a.context = static_cast<uint16_t>(length);
    a.qk_norm = qk_norm;
    a.eps = static_cast<float>(eps);
    a.cosine = cosine.const_data_ptr<float>();
    a.sine = sine.const_data_ptr<float>();
    const size_t rotated = MMOE_PAD(4 * static_cast<size_t>(qkv.numel()), 16);
    uint8_t* scratch = take_scratch(context, rotated + MMOE_ATTENTION_SCRATCH_BYTES(heads, kv_heads, length, dim));
    if (!scratch) return context.fail(Error::MemoryAllocationFailed), out;
    std::memcpy(scratch, qkv.const_data_ptr<float>(), 4 * static_cast<size_t>(qkv.numel()));
    succeed(context, mmoe_attention_s8(&a, reinterpret_cast<float*>(scratch), kv.mutable_data_ptr<uint8_t>(),
                                       static_cast<uint32_t>(p), out.mutable_data_ptr<float>(), scratch + rotated));
    return out;
}

struct Ffn {
    float* products;    /* (2 * width) */
    mmoe_vector* inner; /* (width) quantized */
};

bool run_ffn(KernelRuntimeContext& context, const Ffn& ffn, const Matrix& gate_up, const Matrix& down, const mmoe_vector* n,
             float* y) {
    const uint32_t width = gate_up.view.rows / 2;
    mmoe_matvec(&gate_up.view, n, ffn.products);
    if (!succeed(context, mmoe_swiglu_s8(ffn.products, width, n->scale, ffn.inner))) return false;
    mmoe_matvec(&down.view, ffn.inner, y);
    return true;
}

/* Shared expert, router and the chosen experts in one, read where they lie: SPEC.md 3.5 steps 2.7 and 2.8.
 * experts: pages (E, bytes of one); shared: gate_up, then down at a multiple of 16. */
Tensor& moe_out(KernelRuntimeContext& context, const Tensor& n, const Tensor& router, const Tensor& bias,
                const Tensor& shared, const Tensor& shared_gate, const Tensor& experts, int64_t top_k, int64_t width,
                int64_t shared_width, int64_t bits, bool softmax, bool as_scored, double scaling, Tensor& out) {
    const size_t d = static_cast<size_t>(n.numel()), most = static_cast<size_t>(width > shared_width ? width : shared_width);
    const size_t vector = MMOE_VECTOR_BYTES(d), products = MMOE_PAD(8 * most, 16), inner = MMOE_VECTOR_BYTES(most);
    const size_t row = MMOE_PAD(4 * (d + 4), 16), count = static_cast<size_t>(bias.numel());
    if (top_k > kMaxTopK) return context.fail(Error::InvalidArgument), out;
    uint8_t* scratch = take_scratch(context, vector + products + inner + row + MMOE_PAD(8 * count, 16) + 16);
    if (!scratch) return context.fail(Error::MemoryAllocationFailed), out;
    auto* x = reinterpret_cast<mmoe_vector*>(scratch);
    const Ffn ffn{reinterpret_cast<float*>(scratch + vector), reinterpret_cast<mmoe_vector*>(scratch + vector + products)};
    auto* one = reinterpret_cast<float*>(scratch + vector + products + inner);
    auto* scores = reinterpret_cast<float*>(scratch + vector + products + inner + row);
    float* sum = out.mutable_data_ptr<float>();
    const float* input = n.const_data_ptr<float>();
    const auto columns = static_cast<int64_t>(d);
    if (!succeed(context, mmoe_quantize_s8(input, static_cast<uint32_t>(d), x))) return out;

    const auto run = [&](const uint8_t* blob, int64_t own_width, float* y) {
        const Matrix gate_up = view_matrix(blob, 2 * own_width, columns, bits);
        const Matrix down = view_matrix(blob + MMOE_PAD(gate_up.size, 16), columns, own_width, bits);
        return run_ffn(context, ffn, gate_up, down, x, y);
    };
    const bool gated = shared_gate.numel() > 0;
    if (shared_width && !run(shared.const_data_ptr<uint8_t>(), shared_width, gated ? one : sum)) return out;
    if (!shared_width || gated) std::memset(sum, 0, 4 * d);
    if (gated) {
        const float weight = mmoe_gate_f32(input, shared_gate.const_data_ptr<float>(), static_cast<uint32_t>(d));
        mmoe_accumulate_f32(one, weight, static_cast<uint32_t>(d), sum);
    }
    if (!top_k) return out;
    uint8_t chosen[kMaxTopK];
    float gate[kMaxTopK];
    mmoe_router choice{};
    choice.experts = static_cast<uint16_t>(count);
    choice.top_k = static_cast<uint16_t>(top_k);
    choice.softmax = softmax;
    choice.as_scored = as_scored;
    choice.scaling = static_cast<float>(scaling);
    choice.weight = router.const_data_ptr<float>();
    choice.bias = bias.const_data_ptr<float>();
    mmoe_route_f32(&choice, input, static_cast<uint32_t>(d), chosen, gate, scores);
    const size_t page = static_cast<size_t>(experts.size(1));
    for (int64_t k = 0; k < top_k; k++) {
        if (!run(experts.const_data_ptr<uint8_t>() + chosen[k] * page, width, one)) return out;
        mmoe_accumulate_f32(one, gate[k], static_cast<uint32_t>(d), sum);
    }
    return out;
}

EXECUTORCH_LIBRARY(mmoe, "embed.out", embed_out);
EXECUTORCH_LIBRARY(mmoe, "rmsnorm.out", rmsnorm_out);
EXECUTORCH_LIBRARY(mmoe, "linear.out", linear_out);
EXECUTORCH_LIBRARY(mmoe, "norm_heads.out", norm_heads_out);
EXECUTORCH_LIBRARY(mmoe, "attention.out", attention_out);
EXECUTORCH_LIBRARY(mmoe, "moe.out", moe_out);

}  // namespace
