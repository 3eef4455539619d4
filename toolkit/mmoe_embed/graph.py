"""A pass over a chunk of tokens: operations over named arena buffers, in the order the emitted C runs them."""

import dataclasses

from mmoe_embed.config import ModelConfig

# Sizes of kernel buffers. The C headers define them; emitted C asserts that these functions agree (SPEC.md 7).
AT_ONCE = 4  # MMOE_AT_ONCE: vectors or heads whose sums registers hold
BATCH = 64  # MMOE_BATCH: tokens that go through a matrix product together


def _pad(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple


def vector_bytes(n: int) -> int:
    """Bytes of a quantized activation of n elements: MMOE_VECTOR_BYTES."""
    return 16 + _pad(4 * -(-n // 32), 16) + 2 * _pad(n, 32)


def kv_layer_bytes(config: ModelConfig) -> int:
    """Bytes of one layer's key/value cache: MMOE_KV_BYTES."""
    context = config.max_position_embeddings
    matrices = 2 * _pad(context, 16) * _pad(config.head_dim, 16)
    return _pad(config.num_key_value_heads * (matrices + 8 * max(context, 2)), 16)


def attention_scratch_bytes(config: ModelConfig) -> int:
    """MMOE_ATTENTION_SCRATCH_BYTES."""
    group, context = config.num_attention_heads // config.num_key_value_heads, config.max_position_embeddings
    heads, head = min(group, AT_ONCE), 2 * _pad(config.head_dim, 16)
    return heads * (4 * _pad(max(context, config.head_dim), 4) + 2 * _pad(context, 16) + head) + head


def _matmul_scratch_bytes(columns: int, count: int) -> int:
    """MMOE_MATMUL_SCRATCH_BYTES."""
    return 2 * AT_ONCE * _pad(columns, 32) + 16 * count


def linear_scratch_bytes(chunk: int, columns: int) -> int:
    """MMOE_LINEAR_SCRATCH_BYTES."""
    batch = min(chunk, BATCH)
    return _matmul_scratch_bytes(columns, batch) + 16 * batch if chunk > 1 else 0


def moe_scratch_bytes(config: ModelConfig, layer: int, chunk: int) -> int:
    """MMOE_MOE_SCRATCH_BYTES."""
    experts, top_k, expert_width, shared_width = moe_shape(config, layer)
    batch, width = min(chunk, max(chunk // 4, AT_ONCE), 16), max(expert_width, shared_width)
    return (
        _pad(8 * experts, 16)
        + batch * (_pad(8 * width, 16) + vector_bytes(width))
        + max(top_k, batch) * _pad(4 * config.hidden_size, 16)
        + (_pad(9 * chunk * top_k + 4 * (experts + 1), 16) if chunk > 1 else 0)
        + (32 * batch + _matmul_scratch_bytes(max(config.hidden_size, width), batch) if chunk > 1 else 0)
    )


def moe_shape(config: ModelConfig, layer: int) -> tuple[int, int, int, int]:
    """A layer's experts, how many of them a token uses, their width, and that of the shared expert."""
    shared = config.shared_width(layer)
    if not config.experts_of(layer):
        return 0, 0, 0, shared
    return config.num_experts, config.num_experts_per_tok, config.moe_intermediate_size, shared


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
        kind: "embed", "window", "rmsnorm", "linear", "bias", "norm_parts", "attention", "moe" or "pool".
        weights: the model's matrix or tensor it reads, "" for none.
        layer: -1 outside the layers.
        parts: of "norm_parts": offset of the first part, how many, floats of each.
        last: of "linear" and "attention": of tokens before the last one, only keys and values are made.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weights: str = ""
    layer: int = -1
    scratch: str = ""
    parts: tuple[int, int, int] = (0, 0, 0)
    last: bool = False

    @property
    def buffers(self) -> tuple[str, ...]:
        """Every buffer that must be alive while the operation runs."""
        return (*self.inputs, *self.outputs, *((self.scratch,) if self.scratch else ()))


@dataclasses.dataclass(frozen=True)
class Graph:
    """A pass: operations in order, and the buffers they use.

    Attributes:
        chunk: tokens that a pass takes at most: rows of every buffer before "pool", or before the last attention.
        result: the logits, alive until the next pass.
    """

    ops: tuple[Op, ...]
    tensors: dict[str, Tensor]
    result: str
    chunk: int = 1

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
    """Attributes: rows: tokens that the buffers to come hold."""

    def __init__(self, chunk: int) -> None:
        self.ops: list[Op] = []
        self.tensors: dict[str, Tensor] = {}
        self.rows = chunk

    def floats(self, name: str, n: int) -> str:
        self.tensors[name] = Tensor(name, "float", (self.rows, n), 4 * self.rows * n, f"4 * {self.rows} * {n}")
        return name

    def vector(self, name: str, n: int) -> str:
        size_bytes, expression = self.rows * vector_bytes(n), f"{self.rows} * MMOE_VECTOR_BYTES({n})"
        self.tensors[name] = Tensor(name, "int8", (self.rows, n), size_bytes, expression)
        return name

    def heads(self, name: str, config: ModelConfig) -> str:
        """The quantized outputs of attention, whose place is its scratch until then."""
        vector = self.tensors[self.vector(name, config.attention_width)]
        scratch = (
            f"MMOE_ATTENTION_SCRATCH_BYTES({config.num_attention_heads}, {config.num_key_value_heads}, "
            f"{config.max_position_embeddings}, {config.head_dim})"
        )
        self.tensors[name] = dataclasses.replace(
            vector,
            size_bytes=max(vector.size_bytes, attention_scratch_bytes(config)),
            size_expression=f"MMOE_MAX({vector.size_expression}, {scratch})",
        )
        return name

    def scratch(self, name: str, size_bytes: int, expression: str) -> str:
        """A scratch buffer; "" when none is needed."""
        if size_bytes == 0:
            return ""
        self.tensors[name] = Tensor(name, "scratch", (size_bytes,), size_bytes, expression)
        return name

    def linear(
        self,
        name: str,
        buffer: str,
        source: str,
        columns: int,
        outs: tuple[str, ...],
        weights: str,
        layer: int = -1,
        last: bool = False,
    ) -> None:
        """outs: the product, and where it is added to, if anywhere."""
        expression = f"MMOE_LINEAR_SCRATCH_BYTES({self.rows}, {columns})"
        scratch = self.scratch(buffer, linear_scratch_bytes(self.rows, columns), expression)
        self.op(name, "linear", (source,), outs, weights, layer, scratch, last=last)

    def op(
        self,
        name: str,
        kind: str,
        inputs: tuple[str, ...],
        outputs: tuple[str, ...],
        weights: str = "",
        layer: int = -1,
        scratch: str = "",
        parts: tuple[int, int, int] = (0, 0, 0),
        last: bool = False,
    ) -> None:
        self.ops.append(Op(name, kind, inputs, outputs, weights, layer, scratch, parts, last))


def build_graph(config: ModelConfig, chunk: int = 1) -> Graph:
    """A pass of SPEC.md 3.6 over up to `chunk` tokens; with one token it is the decode step of 3.5.

    Args:
        config: the model's shape.
        chunk: tokens a pass takes at most.
    """
    b, d, width = _Builder(chunk), config.hidden_size, config.attention_width
    x = b.floats("X", d)
    if config.is_classifier:
        n = config.window_size
        window, vector = b.floats("WINDOW", n), b.vector("WINDOW_INPUT", n)
        b.op("window", "window", (), (window, vector))
        b.linear("input", "INPUT_SCRATCH", vector, n, (x,), "input")
        b.op("input_bias", "bias", (x,), (x,), "input_bias")
    else:
        b.op("embed", "embed", (), (x,), "embed")
    for layer in range(config.num_hidden_layers):
        at, upper = f"layers.{layer}.", f"L{layer}_"
        last = layer == config.num_hidden_layers - 1 and not config.is_classifier
        normed, vector = b.floats(upper + "ATTN_NORM", d), b.vector(upper + "ATTN_INPUT", d)
        b.op(at + "attn_norm", "rmsnorm", (x,), (normed, vector), at + "attn_norm", layer)
        qkv = b.floats(upper + "QKV", config.qkv_rows)
        b.linear(at + "qkv", upper + "QKV_SCRATCH", vector, d, (qkv,), at + "qkv", layer, last)
        if config.attention_bias:
            b.op(at + "qkv_bias", "bias", (qkv,), (qkv,), at + "qkv_bias", layer)
        for norm, parts in _pre_rotary_norms(config):
            b.op(at + norm, "norm_parts", (qkv,), (qkv,), at + norm, layer, parts=parts)
        if last:
            b.rows = 1
        vector, out = b.heads(upper + "HEADS_INPUT", config), b.floats(upper + "ATTN_OUT", d)
        inputs, outputs = ((qkv, x), (qkv, vector, x)) if last else ((qkv,), (qkv, vector))
        b.op(at + "attention", "attention", inputs, outputs, layer=layer, last=last)
        b.linear(at + "o", upper + "O_SCRATCH", vector, width, (out, x), at + "o", layer)
        normed, vector = b.floats(upper + "MOE_NORM", d), b.vector(upper + "MOE_INPUT", d)
        b.op(at + "moe_norm", "rmsnorm", (x,), (normed, vector), at + "moe_norm", layer)
        sizes = ", ".join(map(str, (b.rows, d, *moe_shape(config, layer))))
        scratch = b.scratch(
            upper + "MOE_SCRATCH", moe_scratch_bytes(config, layer, b.rows), f"MMOE_MOE_SCRATCH_BYTES({sizes})"
        )
        b.op(at + "moe", "moe", (normed, vector, x), (normed, x), layer=layer, scratch=scratch)
    result = x
    if config.is_classifier:
        b.rows = 1
        result = b.floats("MEAN", d)
        b.op("pool", "pool", (x,), (result,))
    normed, vector = b.floats("FINAL_NORM", d), b.vector("HEAD_INPUT", d)
    logits = b.floats("LOGITS", config.vocab_size)
    b.op("norm", "rmsnorm", (result,), (normed, vector), "norm")
    b.linear("head", "HEAD_SCRATCH", vector, d, (logits,), "embed" if config.tie_word_embeddings else "head")
    return Graph(tuple(b.ops), b.tensors, logits, chunk)


def _pre_rotary_norms(config: ModelConfig) -> list[tuple[str, tuple[int, int, int]]]:
    """Each norm, and which parts of a row of q, k and v it norms (`Op.parts`)."""
    if config.pre_rotary_norm == "none":
        return []
    queries, keys = config.attention_width, config.key_width
    query_size, key_size = config.query_norm_size, config.key_norm_size
    return [
        ("q_norm", (0, queries // query_size, query_size)),
        ("k_norm", (queries, keys // key_size, key_size)),
    ]
