"""A quantized model as an ExecuTorch program: the decode step of SPEC.md 3.5, its KV cache as mutable state."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from executorch.exir import EdgeCompileConfig, ExecutorchBackendConfig, ExecutorchProgramManager, to_edge
from executorch.exir.passes import MemoryPlanningPass
from torch import Tensor, nn

from mmoe_embed.executorch import operators  # noqa: F401 (defines torch.ops.mmoe)
from mmoe_embed.executorch.memory_planning import ArenaReport, memory_planning_algo, read_reports
from mmoe_embed.experts import pack, pack_expert
from mmoe_embed.graph import kv_layer_bytes, moe_shape
from mmoe_embed.quantized import Quantized

_PAGE = 16  # bytes that a matrix starts at a multiple of


def _blob(model: Quantized, *names: str) -> Tensor:
    """Packed matrices one after the other, each at a multiple of 16, as uint8 (bytes)."""
    data = bytearray()
    for name in names:
        packed = pack(model.matrices[name])
        data += bytes(-len(data) % _PAGE) + packed.weights + packed.group_scales + packed.row_scales
    return torch.frombuffer(data, dtype=torch.uint8)


class DecodeStep(nn.Module):
    """One token in, the logits of the next out.

    Args:
        model: the quantized model; its packed weights become constants of the program.
    """

    def __init__(self, model: Quantized) -> None:
        super().__init__()
        self.config = config = model.config
        self.bits = 4 if model.scheme == "int4" else 8
        for name in ("embed",) if config.tie_word_embeddings else ("embed", "head"):
            self._keep(name, _blob(model, name))
        for name, tensor in model.floats.items():
            self._keep(name, torch.from_numpy(np.ascontiguousarray(tensor)))
        for layer in range(config.num_hidden_layers):
            at = f"layers.{layer}."
            self._keep(at + "qkv", _blob(model, at + "qkv"))
            self._keep(at + "o", _blob(model, at + "o"))
            self._keep(at + "kv", torch.zeros(kv_layer_bytes(config), dtype=torch.uint8))
            shared = [at + "shared.gate_up", at + "shared.down"] if config.shared_width(layer) else []
            self._keep(at + "shared", _blob(model, *shared) if shared else torch.zeros(1, dtype=torch.uint8))
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

    def forward(self, token: Tensor, position: Tensor) -> Tensor:
        """Logits, float32 (vocabulary).

        Args:
            token: int64 (1).
            position: int64 (1), tokens taken before; below the context.
        """
        ops: Any = torch.ops.mmoe
        c, take, eps = self.config, self._take, self.config.rms_norm_eps
        d = c.hidden_size
        cosine, sine = take("rotary.cos"), take("rotary.sin")
        x = ops.embed(token, take("embed"), c.vocab_size, d)
        for layer in range(c.num_hidden_layers):
            at = f"layers.{layer}."
            n = ops.rmsnorm(x, take(at + "attn_norm"), eps)
            qkv = ops.linear(n, take(at + "qkv"), c.qkv_rows, d, self.bits)
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
            x = x + ops.linear(heads, take(at + "o"), d, c.attention_width, self.bits)
            n = ops.rmsnorm(x, take(at + "moe_norm"), eps)
            _, top_k, width, shared_width = moe_shape(c, layer)
            x = x + ops.moe(
                n,
                take(at + "router.weight"),
                take(at + "router.bias"),
                take(at + "shared"),
                take(at + "shared_gate"),
                take(at + "experts"),
                top_k,
                width,
                shared_width,
                self.bits,
                c.router_score == "softmax",
                not c.norm_topk_prob,
                c.routed_scaling_factor,
            )
        n = ops.rmsnorm(x, take("norm"), eps)
        logits: Tensor = ops.linear(n, take("embed" if c.tie_word_embeddings else "head"), c.vocab_size, d, 8)
        return logits


def export_program(model: Quantized, file: Path) -> tuple[ArenaReport, ...]:
    """Write a program, with tokenizer.json and generation_config.json beside it; returns its memory reports."""
    program = lower_model(model)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(program.buffer)
    (file.parent / "tokenizer.json").write_text(model.tokenizer, encoding="utf-8")
    (file.parent / "generation_config.json").write_text(model.generation.to_json(), encoding="utf-8")
    return read_reports(program.exported_program("decode").graph_module)


def lower_model(model: Quantized) -> ExecutorchProgramManager:
    """Export the decode step, its memory planned by memory_planner.

    Methods: `decode`; and as constants `mmoe_model_id` (of the quantized model) and `mmoe_context`.
    """
    step = DecodeStep(model).eval()
    example = (torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64))
    edge = to_edge(
        {"decode": torch.export.export(step, example)},
        constant_methods={"mmoe_model_id": model.model_id, "mmoe_context": model.config.max_position_embeddings},
        compile_config=EdgeCompileConfig(_check_ir_validity=False),
    )
    return edge.to_executorch(ExecutorchBackendConfig(memory_planning_pass=MemoryPlanningPass(memory_planning_algo)))
