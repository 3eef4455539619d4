"""A quantized model as an ExecuTorch program: the passes of SPEC.md 3.5 and 3.6, their KV cache as mutable state."""

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackDynamicallyQuantizedPartitioner
from executorch.exir import (
    EdgeCompileConfig,
    ExecutorchBackendConfig,
    ExecutorchProgramManager,
    to_edge_transform_and_lower,
)
from executorch.exir.passes import MemoryPlanningPass
from torch import Tensor, nn
from torchao.quantization import IntxUnpackedToInt8Tensor

from mmoe_embed.executorch import operators  # noqa: F401 (defines torch.ops.mmoe)
from mmoe_embed.executorch.memory_planning import ArenaReport, memory_planning_algo, read_reports
from mmoe_embed.executorch.paging import PagedPartitioner, pack_plan
from mmoe_embed.experts import pack, pack_expert
from mmoe_embed.graph import kv_layer_bytes, moe_shape
from mmoe_embed.plan import BoardPlan
from mmoe_embed.quantized import GROUP, Quantized

_PAGE = 16  # bytes that a matrix starts at a multiple of


def matrix_blob(model: Quantized, *names: str) -> Tensor:
    """Packed matrices one after the other, each at a multiple of 16, as uint8 (bytes)."""
    data = bytearray()
    for name in names:
        packed = pack(model.matrices[name])
        data += bytes(-len(data) % _PAGE) + packed.weights + packed.group_scales + packed.row_scales
    return torch.frombuffer(data, dtype=torch.uint8)


class Pass(nn.Module):
    """Tokens in, the logits that follow the last one out; of a classifier windows in, the scores of classes out.

    Args:
        model: the quantized model; its packed weights become constants of the program.
        dense: matrices that are linear layers of PyTorch instead, by name; their products are not the golden's.
        prefetch: whether the next layer's experts are guessed.
    """

    def __init__(self, model: Quantized, dense: nn.ModuleDict | None = None, *, prefetch: bool = False) -> None:
        super().__init__()
        self.config = config = model.config
        self.bits = 4 if model.scheme == "int4" else 8
        self.dense = nn.ModuleDict() if dense is None else dense
        self.prefetch = prefetch
        self._keep("no_router", torch.zeros(0))
        first = "input" if config.is_classifier else "embed"
        for name in (first,) if config.tie_word_embeddings else (first, "head"):
            self._keep(name, matrix_blob(model, name))
        for name, tensor in model.floats.items():
            self._keep(name, torch.from_numpy(np.ascontiguousarray(tensor)))
        if config.is_classifier:
            for name in ("input_mean", "input_gain"):
                self._keep(name, torch.from_numpy(np.tile(model.floats[name], config.input_frames)))
            self._keep("sums", torch.zeros(2, config.hidden_size))
            self._keep("ends", torch.zeros(2, dtype=torch.int64))
        for layer in range(config.num_hidden_layers):
            at = f"layers.{layer}."
            self._keep(at + "qkv", matrix_blob(model, at + "qkv"))
            self._keep(at + "o", matrix_blob(model, at + "o"))
            self._keep(at + "kv", torch.zeros(kv_layer_bytes(config), dtype=torch.uint8))
            shared = [at + "shared.gate_up", at + "shared.down"] if config.shared_width(layer) else []
            self._keep(at + "shared", matrix_blob(model, *shared) if shared else torch.zeros(1, dtype=torch.uint8))
            pages = [pack_expert(model, layer, e)[0] for e in range(config.experts_of(layer))]
            experts = np.frombuffer(b"".join(pages), np.uint8).reshape(max(1, len(pages)), -1) if pages else None
            self._keep(
                at + "experts", torch.zeros(1, 1, dtype=torch.uint8) if experts is None else torch.tensor(experts)
            )
            if not config.shared_expert_gate or layer in config.dense_layers:
                self._keep(at + "shared_gate", torch.zeros(0))
            if not pages:
                self._keep(at + "router.weight", torch.zeros(1, config.hidden_size))
                self._keep(at + "router.bias", torch.zeros(1))

    def _keep(self, name: str, tensor: Tensor) -> None:
        self.register_buffer(name.replace(".", "_"), tensor)

    def _take(self, name: str) -> Any:
        return getattr(self, name.replace(".", "_"))

    def _linear(self, x: Tensor, name: str, rows: int, columns: int, bits: int) -> Tensor:
        dense = name.replace(".", "_")
        if dense in self.dense:
            product: Tensor = self.dense[dense](x)
            return product
        ours: Tensor = torch.ops.mmoe.linear(x, self._take(name), rows, columns, bits)
        return ours

    def _enter(self, tokens: Tensor) -> Tensor:
        """Float32 (n, hidden)."""
        ops: Any = torch.ops.mmoe
        c, take = self.config, self._take
        if not c.is_classifier:
            embedded: Tensor = ops.embed(tokens, take("embed"), c.vocab_size, c.hidden_size)
            return embedded
        scaled = (tokens - take("input_mean")) * take("input_gain")
        projected: Tensor = ops.linear(scaled, take("input"), c.hidden_size, c.window_size, 8) + take("input_bias")
        return projected

    def _guessed_router(self, layer: int) -> tuple[Tensor, Tensor]:
        """Weight and bias of the router whose experts are guessed in a layer; empty where none are."""
        routed = self.config.routed_layers
        following = [later for later in routed if later > layer] if self.prefetch and layer in routed else []
        if not following:
            return self._take("no_router"), self._take("no_router")
        return self._take(f"layers.{following[0]}.router.weight"), self._take(f"layers.{following[0]}.router.bias")

    def forward(self, tokens: Tensor, position: Tensor) -> Tensor:
        """Logits, float32 (vocabulary).

        Args:
            tokens: int64 (n); of a classifier float32 (n, window size).
            position: int64 (1), tokens taken before; position + n is at most the context.
        """
        ops: Any = torch.ops.mmoe
        c, take, eps = self.config, self._take, self.config.rms_norm_eps
        d = c.hidden_size
        cosine, sine = take("rotary.cos"), take("rotary.sin")
        x = self._enter(tokens)
        for layer in range(c.num_hidden_layers):
            at = f"layers.{layer}."
            n = ops.rmsnorm(x, take(at + "attn_norm"), eps)
            qkv = self._linear(n, at + "qkv", c.qkv_rows, d, self.bits)
            if c.attention_bias:
                qkv = qkv + take(at + "qkv_bias")
            if c.pre_rotary_norm != "none":
                norms = take(at + "q_norm"), take(at + "k_norm")
                qkv = ops.norm_heads(qkv, *norms, c.attention_width, c.key_width, eps)
            heads = ops.attention(
                qkv,
                cosine,
                sine,
                take(at + "kv"),
                position,
                c.num_attention_heads,
                c.num_key_value_heads,
                c.qk_norm,
                eps,
            )
            if layer == c.num_hidden_layers - 1 and not c.is_classifier:  # SPEC.md 3.6: the others are not looked at
                x, heads = x[-1:], heads[-1:]
            x = x + self._linear(heads, at + "o", d, c.attention_width, self.bits)
            n = ops.rmsnorm(x, take(at + "moe_norm"), eps)
            _, top_k, width, shared_width = moe_shape(c, layer)
            x = ops.moe(
                x,
                n,
                take(at + "router.weight"),
                take(at + "router.bias"),
                take(at + "shared"),
                take(at + "shared_gate"),
                *self._guessed_router(layer),
                take(at + "experts"),
                top_k,
                width,
                shared_width,
                self.bits,
                c.router_score == "softmax",
                not c.norm_topk_prob,
                c.routed_scaling_factor,
            )
        last = ops.pool(x, take("sums"), take("ends"), position) if c.is_classifier else x
        n = ops.rmsnorm(last, take("norm"), eps)
        return self._linear(n, "embed" if c.tie_word_embeddings else "head", c.vocab_size, d, 8)[0]


def export_program(
    model: Quantized, file: Path, plan: BoardPlan, *, beside: bool = False, xnnpack: bool = False
) -> dict[str, ArenaReport]:
    """Write a program, and beside it what an application needs; returns the memory of its methods.

    That is tokenizer.json and generation_config.json, or of a classifier config.json: its windows and classes.

    Args:
        model: the quantized model.
        file: the .pte.
        plan: its chunk is what `prefill` takes at most; where it pages experts, backend MmoePagedExperts does.
        beside: paged experts go into a .ptd of the same name, not into the .pte.
        xnnpack: as lower_model.
    """
    program = lower_model(model, plan, file.stem if beside else "", xnnpack=xnnpack)
    file.parent.mkdir(parents=True, exist_ok=True)
    beside_it = {"tokenizer.json": model.tokenizer, "generation_config.json": model.generation.to_json()}
    if model.config.is_classifier:
        beside_it = {"config.json": model.config.to_json()}
    with tempfile.TemporaryDirectory(prefix=f".{file.name}.", dir=file.parent) as partial:
        whole = Path(partial)
        with (whole / file.name).open("wb") as stream:
            program.write_to_file(stream)
        program.write_tensor_data_to_file(partial)
        for name, text in beside_it.items():
            (whole / name).write_text(text, encoding="utf-8")
        file.with_suffix(".ptd").unlink(missing_ok=True)
        for written in sorted(whole.iterdir()):  # nothing is there until all of it is
            os.replace(written, file.parent / written.name)
    programs = {method: program.exported_program(method) for method in sorted(program.methods)}
    return {method: read_reports(exported.graph_module)[0] for method, exported in programs.items()}


def lower_model(
    model: Quantized, plan: BoardPlan, file: str = "", *, xnnpack: bool = False
) -> ExecutorchProgramManager:
    """Export the passes, their memory planned by memory_planner.

    Methods: `decode(token, position)` and, with a chunk, `prefill(tokens, position)`, with one KV cache: both from
    one Program, or from a Module that shares its memory arenas. As constants `mmoe_model_id` (of the quantized model),
    `mmoe_context`, `mmoe_chunk` and `mmoe_exact`: 1 where logits have the golden's bits. A classifier has
    `mmoe_window` as well, numbers of a window, and takes windows, float32 (n, window size), in place of tokens.

    Args:
        model: the quantized model.
        plan: as export_program.
        file: name of the .ptd for paged experts; "" leaves them in the program.
        xnnpack: XNNPACK computes the products with `qkv`, `o` and the head, with the model's own integers and scales.
    """
    step = Pass(model, dense_layers(model) if xnnpack else None, prefetch=plan.paging.prefetch > 0).eval()
    config, position = model.config, torch.zeros(1, dtype=torch.int64)
    tokens = torch.zeros(plan.chunk, dtype=torch.int64)
    if config.is_classifier:
        tokens = torch.zeros(plan.chunk, config.window_size)
    methods = {"decode": torch.export.export(step, (tokens[:1], position))}
    if plan.chunk > 1:
        shapes = {"tokens": {0: torch.export.Dim("count", min=1, max=plan.chunk)}, "position": None}
        methods["prefill"] = torch.export.export(step, (tokens, position), dynamic_shapes=shapes)
    constants = {"mmoe_model_id": model.model_id, "mmoe_context": config.max_position_embeddings}
    if config.is_classifier:
        constants["mmoe_window"] = config.window_size
    edge = to_edge_transform_and_lower(
        methods,
        partitioner=[XnnpackDynamicallyQuantizedPartitioner()] if xnnpack else [],
        constant_methods=constants | {"mmoe_chunk": plan.chunk, "mmoe_exact": int(not xnnpack)},
        compile_config=EdgeCompileConfig(_check_ir_validity=False),
    )
    if plan.expert_mode == "paged":
        # not in one call: a second partitioner there decomposes linear layers, whose scales XNNPACK then leaves out
        edge = edge.to_backend(PagedPartitioner(pack_plan(model, plan), file))
    planning = MemoryPlanningPass(memory_planning_algo, share_mutable_buffers=True)
    return edge.to_executorch(ExecutorchBackendConfig(memory_planning_pass=planning))


def dense_layers(model: Quantized) -> nn.ModuleDict:
    """The matrices outside the MoE blocks as linear layers, integers and scales as they are; activations INT8 by token.

    INT4 whose last group is not whole has no form in XNNPACK and stays ours.
    """
    config = model.config
    names = [f"layers.{layer}.{part}" for layer in range(config.num_hidden_layers) for part in ("qkv", "o")]
    dense = nn.ModuleDict()
    for name in (*names, "embed" if config.tie_word_embeddings else "head"):
        matrix = model.matrices[name]
        block = matrix.columns if matrix.group is None else GROUP
        if matrix.columns % block:
            continue
        groups = np.float32(1) if matrix.group is None else matrix.group.astype(np.float32)
        scales = torch.from_numpy(matrix.scale[:, None] * groups)
        linear = nn.Linear(matrix.columns, matrix.rows, bias=False)
        weight = IntxUnpackedToInt8Tensor(
            torch.from_numpy(matrix.q),
            scales,
            torch.zeros_like(scales, dtype=torch.int8),
            getattr(torch, f"int{matrix.bits}"),
            (1, block),
            torch.float32,
            "int8_asym_per_token",
        )
        linear.weight = nn.Parameter(weight, requires_grad=False)
        dense[name.replace(".", "_")] = linear
    return dense
