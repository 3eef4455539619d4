"""A model's decode step as a list of operations over named arena buffers, in the order the emitted C runs them."""

import dataclasses

from mmoe_embed.config import ModelConfig

# Sizes of kernel buffers. The C headers define them; emitted C asserts that these functions agree (SPEC.md 7).


def _pad(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple


def vector_bytes(n: int) -> int:
    """Bytes of a quantized activation of n elements: MMOE_VECTOR_BYTES."""
    return 16 + _pad(4 * -(-n // 32), 16) + 2 * _pad(n, 32)


def kv_layer_bytes(config: ModelConfig) -> int:
    """Bytes of one layer's key/value cache: MMOE_KV_BYTES."""
    context = config.max_position_embeddings
    return _pad(config.num_key_value_heads * (2 * _pad(context, 16) * _pad(config.head_dim, 16) + 8 * context), 16)


def attention_scratch_bytes(config: ModelConfig) -> int:
    """MMOE_ATTENTION_SCRATCH_BYTES."""
    group = config.num_attention_heads // config.num_key_value_heads
    return group * _pad(6 * config.max_position_embeddings, 16) + (group + 1) * (vector_bytes(config.head_dim) + 16)


def moe_scratch_bytes(config: ModelConfig) -> int:
    """MMOE_MOE_SCRATCH_BYTES."""
    width = max(config.moe_intermediate_size if config.num_experts else 0, config.shared_expert_intermediate_size)
    return (
        _pad(8 * config.num_experts, 16)
        + _pad(8 * width, 16)
        + vector_bytes(width)
        + (config.num_experts_per_tok + 1) * _pad(4 * config.hidden_size, 16)
    )


@dataclasses.dataclass(frozen=True)
class Tensor:
    """One arena buffer.

    Attributes:
        size_expression: the C expression that must equal size_bytes.
    """

    name: str
    type: str  # "float", "int8" or "scratch"
    shape: tuple[int, ...]
    size_bytes: int
    size_expression: str


@dataclasses.dataclass(frozen=True)
class Op:
    """One operation: what it is called, what C it becomes, which buffers it touches.

    Attributes:
        kind: "embed", "rmsnorm", "quantize", "linear", "attention", "add" or "moe".
        weights: the model's matrix or tensor it reads, "" for none.
        layer: -1 outside the layers.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weights: str = ""
    layer: int = -1
    scratch: str = ""

    @property
    def buffers(self) -> tuple[str, ...]:
        """Every buffer that must be alive while the operation runs."""
        return (*self.inputs, *self.outputs, *((self.scratch,) if self.scratch else ()))


@dataclasses.dataclass(frozen=True)
class Graph:
    """The decode step: operations in order, and the buffers they use."""

    ops: tuple[Op, ...]
    tensors: dict[str, Tensor]
    result: str  # the logits, alive until the next step

    def lifetimes(self) -> dict[str, tuple[int, int]]:
        """Half-open range of operation indices over which each buffer is alive."""
        spans: dict[str, tuple[int, int]] = {}
        for index, op in enumerate(self.ops):
            for name in op.buffers:
                spans[name] = (spans.get(name, (index, 0))[0], index + 1)
        first, _ = spans[self.result]
        spans[self.result] = (first, len(self.ops) + 1)
        return spans


class _Builder:
    def __init__(self) -> None:
        self.ops: list[Op] = []
        self.tensors: dict[str, Tensor] = {}

    def floats(self, name: str, n: int) -> str:
        self.tensors[name] = Tensor(name, "float", (n,), 4 * n, f"4 * {n}")
        return name

    def vector(self, name: str, n: int) -> str:
        self.tensors[name] = Tensor(name, "int8", (n,), vector_bytes(n), f"MMOE_VECTOR_BYTES({n})")
        return name

    def scratch(self, name: str, size_bytes: int, expression: str) -> str:
        self.tensors[name] = Tensor(name, "scratch", (size_bytes,), size_bytes, expression)
        return name

    def op(
        self,
        name: str,
        kind: str,
        inputs: tuple[str, ...],
        outputs: tuple[str, ...],
        weights: str = "",
        layer: int = -1,
        scratch: str = "",
    ) -> None:
        self.ops.append(Op(name, kind, inputs, outputs, weights, layer, scratch))


def build_graph(config: ModelConfig) -> Graph:
    """The decode step of SPEC.md 3.5.

    Args:
        config: the model's shape.
    """
    b, d = _Builder(), config.hidden_size
    x = b.floats("X", d)
    b.op("embed", "embed", (), (x,), "embed")
    for layer in range(config.num_hidden_layers):
        at, upper = f"layers.{layer}.", f"L{layer}_"
        normed, vector = b.floats(upper + "ATTN_NORM", d), b.vector(upper + "ATTN_INPUT", d)
        b.op(at + "attn_norm", "rmsnorm", (x,), (normed,), at + "attn_norm", layer)
        b.op(at + "attn_quantize", "quantize", (normed,), (vector,), layer=layer)
        qkv, heads = b.floats(upper + "QKV", config.qkv_rows), b.floats(upper + "HEADS", config.attention_width)
        b.op(at + "qkv", "linear", (vector,), (qkv,), at + "qkv", layer)
        scratch = b.scratch(
            upper + "ATTN_SCRATCH",
            attention_scratch_bytes(config),
            "MMOE_ATTENTION_SCRATCH_BYTES"
            f"({config.num_attention_heads}, {config.num_key_value_heads}, "
            f"{config.max_position_embeddings}, {config.head_dim})",
        )
        b.op(at + "attention", "attention", (qkv,), (heads,), layer=layer, scratch=scratch)
        vector, out = b.vector(upper + "HEADS_INPUT", config.attention_width), b.floats(upper + "ATTN_OUT", d)
        b.op(at + "heads_quantize", "quantize", (heads,), (vector,), layer=layer)
        b.op(at + "o", "linear", (vector,), (out,), at + "o", layer)
        b.op(at + "attn_add", "add", (out, x), (x,), layer=layer)
        normed, vector = b.floats(upper + "MOE_NORM", d), b.vector(upper + "MOE_INPUT", d)
        b.op(at + "moe_norm", "rmsnorm", (x,), (normed,), at + "moe_norm", layer)
        b.op(at + "moe_quantize", "quantize", (normed,), (vector,), layer=layer)
        f = config.moe_intermediate_size if config.num_experts else 0
        scratch = b.scratch(
            upper + "MOE_SCRATCH",
            moe_scratch_bytes(config),
            f"MMOE_MOE_SCRATCH_BYTES({d}, {config.num_experts}, "
            f"{config.num_experts_per_tok}, {f}, {config.shared_expert_intermediate_size})",
        )
        b.op(at + "moe", "moe", (normed, vector, x), (x,), layer=layer, scratch=scratch)
    normed, vector = b.floats("FINAL_NORM", d), b.vector("HEAD_INPUT", d)
    logits = b.floats("LOGITS", config.vocab_size)
    b.op("norm", "rmsnorm", (x,), (normed,), "norm")
    b.op("head_quantize", "quantize", (normed,), (vector,))
    b.op("head", "linear", (vector,), (logits,), "embed")
    return Graph(tuple(b.ops), b.tensors, logits)
