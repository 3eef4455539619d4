"""The designs that a search tries, with what can be told of them without a plan: shape, loss, least memory."""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np

from mmoe_embed.config import MAX_EXPERTS, MAX_TOP_K, GenerationConfig, ModelConfig
from mmoe_embed.design.law import Law
from mmoe_embed.design.shapes import FEED_FORWARD_RATIO, Coordinates, feed_forward, locate
from mmoe_embed.graph import kv_layer_bytes
from mmoe_embed.pack import packed_bytes
from mmoe_embed.quantized import GROUP, SCHEMES, Matrix, Quantized, float_shapes, matrix_bits, matrix_shapes

WIDTHS = (16, 24, 32, 48, 64, 80, 96, 128, 160, 192, 256, 320, 384, 512)
LAYERS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20)
WIDTH_PER_LAYER = (8, 48)  # MobileMoE has 40; the law does not see the proportion, so it stays near what was trained
HEAD_DIMS = (16, 32, 64)
EXPERTS = (1, 2, 4, 8, 16, 32)
GRANULARITIES = (1, 2, 4, 8)
# What rounding costs in loss after quantization-aware training, the bars that examples/text is held to.
ROUNDING = {"int8": 0.003, "int4": 0.015}


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One design.

    Attributes:
        at: where the law sees it.
        weights_bytes: packed, but for the routed experts; a plan needs more by alignment.
        expert_bytes: of one routed expert.
        loss: predicted, nats a token, rounding included.
    """

    config: ModelConfig
    scheme: str
    at: Coordinates
    weights_bytes: int
    expert_bytes: int
    loss: float

    def describe(self) -> str:
        """Its shape in words."""
        c = self.config
        experts = (
            f"{c.num_experts} experts of {c.moe_intermediate_size}, top-{c.num_experts_per_tok}"
            + (f", shared {c.shared_expert_intermediate_size}" if c.shared_expert_intermediate_size else "")
            if c.num_experts
            else f"dense {c.shared_expert_intermediate_size}"
        )
        return (
            f"{self.scheme}, {c.num_hidden_layers} layers of {c.hidden_size},"
            f" heads {c.num_attention_heads}/{c.num_key_value_heads} of {c.head_dim}, {experts}"
        )

    def flash_bytes(self, *, experts: bool) -> int:
        """Of weights, packed; less than a plan needs by alignment and the expert image's table."""
        return self.weights_bytes + (self.expert_bytes * self.config.expert_count if experts else 0)

    def ram_bytes(self, *, slots: bool) -> int:
        """That no plan can do without: KV cache, logits, and the slots of one layer where experts need them."""
        c = self.config
        fixed = c.num_hidden_layers * kv_layer_bytes(c) + 4 * c.vocab_size
        least = min(c.num_experts_per_tok + 1, c.expert_count) if slots else 0
        return fixed + least * self.expert_bytes

    def demands(self) -> tuple[int, ...]:
        """Numbers of which SRAM takes more as any of them grows."""
        c = self.config
        widest = max(c.moe_intermediate_size, c.shared_expert_intermediate_size)
        return (
            c.hidden_size, c.num_hidden_layers, c.attention_width, c.num_key_value_heads * c.head_dim,
            c.num_attention_heads, c.head_dim, widest, c.num_experts_per_tok, c.num_experts, self.expert_bytes,
        )  # fmt: skip


def list_candidates(law: Law, tokens: int, context: int, vocabulary: int) -> list[Candidate]:
    """Every design of the grid, the lowest predicted loss first; of equals the one with fewer parameters in all."""
    designs = [
        design
        for one, layers in _list_shapes(context, vocabulary)
        for scheme in SCHEMES
        for design in _repeat_layer(one, layers, scheme)
    ]
    at = [design.at for design in designs]
    losses = law.loss(
        [p.active for p in at], tokens, [p.experts for p in at], [p.granularity for p in at], [p.shared for p in at]
    )
    rounded = [
        dataclasses.replace(design, loss=float(loss) * (1 + ROUNDING[design.scheme]))
        for design, loss in zip(designs, losses, strict=True)
    ]
    return sorted(rounded, key=lambda c: (c.loss, c.at.total, c.config.num_hidden_layers))


def _list_shapes(context: int, vocabulary: int) -> Iterator[tuple[ModelConfig, list[int]]]:
    """(a model of one layer, how many layers to try)"""
    for width in WIDTHS:
        layers = [n for n in LAYERS if WIDTH_PER_LAYER[0] <= width / n <= WIDTH_PER_LAYER[1]]
        for heads, kv_heads, head_dim in _list_heads(width):
            for moe in _list_feed_forwards(FEED_FORWARD_RATIO * width):
                config = ModelConfig(
                    vocab_size=vocabulary,
                    hidden_size=width,
                    num_hidden_layers=1,
                    num_attention_heads=heads,
                    num_key_value_heads=kv_heads,
                    head_dim=head_dim,
                    max_position_embeddings=context,
                    qk_norm=False,
                    **moe,
                )
                yield config, layers


def _repeat_layer(one: ModelConfig, layers: Sequence[int], scheme: str) -> Iterator[Candidate]:
    """The model with each number of layers, its loss still open; all layers are alike."""
    at, two = locate(one), locate(with_layers(one, 2))
    head_bytes, layer_bytes, expert_bytes = _packed_sizes(one, scheme)
    for count in layers:
        active, total = (
            getattr(at, name) + (count - 1) * (getattr(two, name) - getattr(at, name)) for name in ("active", "total")
        )
        place = dataclasses.replace(at, active=active, total=total)
        weights_bytes = head_bytes + count * layer_bytes
        yield Candidate(with_layers(one, count), scheme, place, weights_bytes, expert_bytes, 0.0)


def with_layers(config: ModelConfig, count: int) -> ModelConfig:
    """The model with another number of layers."""
    return msgspec.structs.replace(config, num_hidden_layers=count)


def _list_heads(width: int) -> Iterator[tuple[int, int, int]]:
    """(query heads, key and value heads, head size), as wide together as the model."""
    for head_dim in HEAD_DIMS:
        if width % head_dim == 0 and (width // head_dim <= 8 or head_dim == HEAD_DIMS[-1]):
            heads = width // head_dim
            for kv_heads in sorted({1, heads // 2, heads} - {0}):
                if heads % kv_heads == 0:
                    yield heads, kv_heads, head_dim


def _list_feed_forwards(width: int) -> Iterator[dict[str, Any]]:
    yield feed_forward(width, 1, 1, False)
    for experts in EXPERTS[1:]:
        for granularity in GRANULARITIES:
            for shared in (False, True) if granularity % 2 == 0 else (False,):
                moe = feed_forward(width, experts, granularity, shared)
                # of one chosen expert the law knows nothing, see `refit.fit_law`
                if moe["num_experts"] <= MAX_EXPERTS and 1 < moe["num_experts_per_tok"] <= MAX_TOP_K:
                    yield moe


def _packed_sizes(one: ModelConfig, scheme: str) -> tuple[int, int, int]:
    """Bytes of a model of one layer: outside the layer, of the layer but for its routed experts, of one of these."""
    shapes = matrix_shapes(_with_one_expert(one))
    sizes = {name: packed_bytes(*shape, matrix_bits(name, scheme)) for name, shape in shapes.items()}
    sizes |= {name: 4 * math.prod(shape) for name, shape in float_shapes(one).items()}
    expert = sum(size for name, size in sizes.items() if ".experts." in name)
    layer = sum(size for name, size in sizes.items() if name.startswith("layers.")) - expert
    head = sum(size for name, size in sizes.items() if not name.startswith("layers."))
    return head, layer, expert


def _with_one_expert(config: ModelConfig) -> ModelConfig:
    return msgspec.structs.replace(config, num_experts=min(1, config.num_experts))


def stand_in(config: ModelConfig, scheme: str) -> Quantized:
    """A model of that shape for the planner and the counts: its weights are zero, and one expert stands for all."""
    matrices = {}
    for name, (rows, columns) in matrix_shapes(_with_one_expert(config)).items():
        grouped = matrix_bits(name, scheme) == 4
        group = np.broadcast_to(np.uint8(0), (rows, -(-columns // GROUP))) if grouped else None
        q = np.broadcast_to(np.int8(0), (rows, columns))
        matrices[name] = Matrix(q, np.broadcast_to(np.float32(0), rows), group)
    floats = {name: np.broadcast_to(np.float32(0), shape) for name, shape in float_shapes(config).items()}
    generation = GenerationConfig(stop_token=0, max_new_tokens=1)
    return _StandIn(config, generation, "{}", scheme, "0" * 64, matrices, floats)


class _StandIn(Quantized):
    model_id = "0" * 64  # it is no model, and hashing its zeros takes time
