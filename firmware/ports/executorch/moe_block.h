/* SPDX-License-Identifier: Apache-2.0
 *
 * What the operators and the delegate have in common: matrices in blobs, rows of tensors, the MoE block of one call. */
#ifndef MMOE_MOE_BLOCK_H
#define MMOE_MOE_BLOCK_H

#include <array>

#include <executorch/runtime/core/exec_aten/exec_aten.h>
#include <executorch/runtime/core/exec_aten/util/tensor_util.h>

#include "mmoe_runtime.h"

namespace mmoe {

using executorch::aten::Tensor;

/* Why the last call on this thread failed, for a caller that knows only ExecuTorch's error: mmoe_executorch_failure() */
executorch::runtime::Error note_failure(mmoe_status status);

/* A packed matrix, `start` bytes into a blob; *end, where not NULL: where it ends. */
inline mmoe_page_matrix lay_out(int64_t rows, int64_t columns, int64_t bits, size_t start, size_t* end) {
    const size_t tiles = MMOE_PAD(static_cast<size_t>(rows), 4) / 4;
    const size_t blocks = bits == 4 ? MMOE_GROUPS(static_cast<size_t>(columns)) : MMOE_PAD(static_cast<size_t>(columns), 16) / 16;
    const size_t groups = start + tiles * blocks * 64, scales = groups + (bits == 4 ? tiles * blocks * 4 : 0);
    mmoe_page_matrix m{};
    m.rows = static_cast<uint32_t>(rows);
    m.columns = static_cast<uint16_t>(columns);
    m.bits = static_cast<uint16_t>(bits);
    m.weights = static_cast<uint32_t>(start);
    m.group_scales = static_cast<uint32_t>(groups);
    m.row_scales = static_cast<uint32_t>(scales);
    if (end) *end = scales + tiles * 16;
    return m;
}

/* What kernels read 16 bytes at a time begins at a multiple of 16, as in a program that was exported with the usual alignment. */
inline mmoe_status check_aligned(const Tensor& t) {
    return reinterpret_cast<uintptr_t>(t.const_data_ptr()) % 16 && t.numel() ? MMOE_E_ARGUMENT : MMOE_OK;
}

inline mmoe_matrix view(const mmoe_page_matrix& m, const Tensor& blob) {
    const uint8_t* data = blob.const_data_ptr<uint8_t>();
    return {m.rows, m.columns, m.bits, data + m.weights, m.bits == 4 ? data + m.group_scales : nullptr,
            reinterpret_cast<const float*>(data + m.row_scales)};
}

inline size_t rows_of(const Tensor& x) { return x.dim() < 2 ? 1 : static_cast<size_t>(x.numel() / x.size(x.dim() - 1)); }

/* out takes the shape of x, with `columns` in place of the last size. */
inline executorch::runtime::Error resize_rows(const Tensor& x, int64_t columns, Tensor& out) {
    std::array<executorch::aten::SizesType, 4> sizes{};
    const auto dim = static_cast<size_t>(x.dim());
    if (dim < 1 || dim > sizes.size()) return executorch::runtime::Error::InvalidArgument;
    for (size_t i = 0; i + 1 < dim; i++) sizes[i] = static_cast<executorch::aten::SizesType>(x.size(static_cast<ssize_t>(i)));
    sizes[dim - 1] = static_cast<executorch::aten::SizesType>(columns);
    return executorch::runtime::resize_tensor(out, {sizes.data(), dim});
}

/* shared: gate_up, then down at a multiple of 16; shared_gate and the next layer's router and bias: empty where there is none */
struct MoeTensors {
    const Tensor &x, &n, &router, &bias, &shared, &shared_gate, &next_router, &next_bias;
};

struct MoeShape {
    int64_t top_k, width, shared_width, bits;
    bool softmax, as_scored;
    double scaling;
};

/* The block as the firmware takes it; it points into itself and the tensors. */
struct MoeBlock {
    mmoe_moe moe{}, next{};
    mmoe_matrix gate_up{}, down{};

    MoeBlock(const MoeTensors& t, const MoeShape& s) {
        const int64_t columns = t.n.size(t.n.dim() - 1);
        size_t end = 0;
        gate_up = view(lay_out(2 * s.shared_width, columns, s.bits, 0, &end), t.shared);
        down = view(lay_out(columns, s.shared_width, s.bits, MMOE_PAD(end, 16), nullptr), t.shared);
        moe.hidden = static_cast<uint16_t>(columns);
        moe.expert_width = static_cast<uint16_t>(s.width);
        moe.shared_width = static_cast<uint16_t>(s.shared_width);
        moe.shared_gate_up = &gate_up;
        moe.shared_down = &down;
        moe.shared_gate = t.shared_gate.numel() ? t.shared_gate.const_data_ptr<float>() : nullptr;
        if (!s.top_k) return;
        moe.router.experts = static_cast<uint16_t>(t.bias.numel());
        moe.router.top_k = static_cast<uint16_t>(s.top_k);
        moe.router.softmax = s.softmax;
        moe.router.as_scored = s.as_scored;
        moe.router.scaling = static_cast<float>(s.scaling);
        moe.router.weight = t.router.const_data_ptr<float>();
        moe.router.bias = t.bias.const_data_ptr<float>();
        if (!t.next_router.numel()) return;
        next.hidden = moe.hidden; /* routers are alike but for their numbers */
        next.router = moe.router;
        next.router.weight = t.next_router.const_data_ptr<float>();
        next.router.bias = t.next_bias.const_data_ptr<float>();
        moe.next = &next;
    }
    MoeBlock(const MoeBlock&) = delete;
    MoeBlock& operator=(const MoeBlock&) = delete;
};

}  // namespace mmoe

#endif
