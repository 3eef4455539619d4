"""The golden: SPEC.md section 3 in numpy, written from the text and not from the C."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mmoe_embed.config import GenerationConfig
from mmoe_embed.errors import ToolkitError
from mmoe_embed.paging.slots import Slots
from mmoe_embed.quantized import Matrix, Quantized
from mmoe_embed.sampling import Sampling, random_word
from mmoe_embed.tokens import Tokens

Floats = NDArray[np.float32]
_TINY = np.float32(2.0**-64)
_LIMIT = np.float32(2.0**60)
_ONE = np.float32(1)
_PRODUCT_BYTES = 3 << 30  # of matrices as float64, of which a phone's model has several times as many


class NumericError(ToolkitError):
    """An activation is 2^60 or more in magnitude, or NaN; the runtime calls it MMOE_E_NUMERIC."""


def sum_lanes(values: Floats) -> Floats:
    """Sum the last axis in the written order: four interleaved partial sums, then (0 + 1) + (2 + 3)."""
    *outer, n = values.shape
    padded = np.zeros((*outer, 4 + -(-n // 4) * 4), np.float32)  # the first four are the +0 each lane starts from
    padded[..., 4 : 4 + n] = values
    lanes = np.add.accumulate(padded.reshape(*outer, -1, 4), axis=-2)[..., -1, :]
    total: Floats = (lanes[..., 0] + lanes[..., 1]) + (lanes[..., 2] + lanes[..., 3])
    return total


def exp(x: Floats) -> Floats:
    """SPEC.md 3.1."""
    x = np.clip(x, np.float32(-87), np.float32(87))
    t = x * _LOG2E
    n = np.rint(t)
    f = t - n
    y = np.full_like(f, _EXP[-1])
    for coefficient in _EXP[-2::-1]:
        y = y * f + coefficient
    scaled: Floats = y * ((n.astype(np.int32) + 127) << 23).view(np.float32)
    return scaled


_LOG2E = np.float32(float.fromhex("0x1.715476p+0"))
_EXP = [
    np.float32(float.fromhex(c))
    for c in ("0x1.0p+0", "0x1.62e12cp-1", "0x1.ec0378p-3", "0x1.c9fc46p-5", "0x1.3a02ccp-7")
]


def sigmoid(x: Floats) -> Floats:
    """SPEC.md 3.1."""
    return _ONE / (_ONE + exp(-x))


def _gate_lines() -> tuple[Floats, Floats]:
    """G and D of SPEC.md 3.1."""
    halves = 1 / (1 + np.exp(-np.arange(2 * _GATE_FIRST - 1, 2 * _GATE_LAST + 2) / 32))
    low, middle, high = halves[:-1:2], halves[1::2], halves[2::2]
    values, slopes = middle / 2 + (low + high) / 4, 16 * (high - low)
    values[[0, -1]], slopes[[0, -1]] = (0, 1), 0
    return values.astype(np.float32), slopes.astype(np.float32)


_GATE_FIRST, _GATE_LAST = -256, 255
_GATE_VALUES, _GATE_SLOPES = _gate_lines()


def silu(x: Floats) -> Floats:
    """SPEC.md 3.1."""
    n = np.rint(x * np.float32(16))
    line = np.clip(np.nan_to_num(n), _GATE_FIRST, _GATE_LAST).astype(np.int32) - _GATE_FIRST
    gated: Floats = x * (_GATE_VALUES[line] + (x - n / np.float32(16)) * _GATE_SLOPES[line])
    return gated


def quantize(x: Floats) -> tuple[NDArray[np.int8], Floats]:
    """SPEC.md 3.2 along the last axis.

    Returns:
        (q, scale): int8 of x's shape, float32 of x's shape without the last axis.

    Raises:
        NumericError: x holds a value of 2^60 or more in magnitude, or NaN.
    """
    largest = np.abs(x).max(axis=-1)
    if not (largest < _LIMIT).all():  # NaN is not below anything
        raise NumericError(
            "an activation is 2^60 or more in magnitude, or NaN", try_="check the checkpoint's weights for huge values"
        )
    zero = largest < _TINY
    safe = np.where(zero, _ONE, largest)
    scale = np.where(zero, np.float32(0), safe / np.float32(127))
    q = np.clip(np.rint(x * (np.float32(127) / safe)[..., None]), -127, 127)
    q[zero] = 0
    return q.astype(np.int8), scale


def rms_norm(x: Floats, eps: np.float32, weight: Floats | None = None) -> Floats:
    """SPEC.md 3.4 along the last axis."""
    mean = sum_lanes(x * x) / np.float32(x.shape[-1])
    y: Floats = x * (_ONE / np.sqrt(mean + eps))[..., None]
    return y if weight is None else y * weight


def choose_token(logits: Floats, position: int, sampling: Sampling | None = None) -> int:
    """The token that follows: greedy, or drawn as SPEC.md 3.7.

    Args:
        logits: float32 (vocabulary).
        position: of the token that is chosen.
        sampling: None is greedy.
    """
    if sampling is None:
        return int(np.argmax(logits))
    size = len(logits)
    order = np.argsort(-logits, kind="stable")
    kept = np.sort(order[: sampling.top_k] if 0 < sampling.top_k < size else order)
    inverse = _ONE / np.float32(sampling.temperature)
    scale = np.float32(1 << min(22, 31 - size.bit_length()))
    with np.errstate(over="ignore"):
        weights = np.rint(exp((logits[kept] - logits.max()) * inverse) * scale).astype(np.int64)
    sums = np.cumsum(weights)
    target = random_word(sampling.seed, position) * int(sums[-1]) >> 32
    return int(kept[np.searchsorted(sums, target, side="right")])


class _Product:
    """A matrix whose integer products are exact: float64 holds every sum below 2^53."""

    def __init__(self, matrix: Matrix) -> None:
        integers = matrix.q.astype(np.float64)
        if matrix.group is not None:
            integers *= np.repeat(matrix.group, 32, axis=1)[:, : matrix.columns]
        self.integers = integers
        self.scale = matrix.scale

    def __call__(self, x: tuple[NDArray[np.int8], Floats]) -> Floats:
        q, scale = x
        sums: Floats = (self.integers @ q.astype(np.float64)).astype(np.float32)
        return sums * (scale * self.scale)


class _Products(dict[str, _Product]):
    """Products by name, made when they are first asked for; when they take too much, all are forgotten."""

    def __init__(self, matrices: Mapping[str, Matrix]) -> None:
        super().__init__()
        self._matrices = matrices
        self._bytes = 0

    def __missing__(self, name: str) -> _Product:
        product = _Product(self._matrices[name])
        self._bytes += product.integers.nbytes
        if self._bytes > _PRODUCT_BYTES:
            self.clear()
            self._bytes = product.integers.nbytes
        self[name] = product
        return product


class Golden:
    """One model, decoding one sequence.

    Attributes:
        position: tokens taken so far.
        routes: uint8 (layers that have experts, top_k), the experts of the last step in rising order.
        gates: float32 of the same shape, what each of them counts.
        slots: what the board's slots hold, where decode steps favour it (SPEC.md 7.3); None where they do not. They
            outlast a sequence.
        windows: float32 (count, window_size), of a classifier: token i of the other methods is the i-th of them. None
            for a language model.
    """

    def __init__(self, model: Quantized, slots: Slots | None = None) -> None:
        self.model = model
        self.slots = slots
        self.config = model.config
        self.windows: Floats | None = None
        if model.config.is_classifier:
            self.windows = np.zeros((0, model.config.window_size), np.float32)
        self._products = _Products(model.matrices)
        self._eps = np.float32(self.config.rms_norm_eps)
        self.reset()

    @functools.cached_property
    def tokens(self) -> Tokens:
        """The model's tokenizer.

        Raises:
            ToolkitError: a classifier has none.
        """
        return Tokens(self.model.tokenizer)

    def reset(self, *, empty_slots: bool = False) -> None:
        """Start a new sequence."""
        if empty_slots and self.slots:
            self.slots.empty()
        c = self.config
        cache = (c.num_hidden_layers, c.max_position_embeddings, c.num_key_value_heads, c.head_dim)
        self.position = 0
        self.routes = np.zeros((len(c.routed_layers), c.num_experts_per_tok), np.uint8)
        self.gates = np.zeros(self.routes.shape, np.float32)
        self._router_inputs = np.zeros((len(c.routed_layers), c.hidden_size), np.float32)
        self._keys, self._values = np.zeros(cache, np.int8), np.zeros(cache, np.int8)
        self._key_scales, self._value_scales = np.zeros(cache[:3], np.float32), np.zeros(cache[:3], np.float32)
        self._sum = np.zeros(c.hidden_size, np.float32)  # of a classifier: what it pools

    def step(self, token: int) -> Floats:
        """Take one token that is no part of a prompt and return the float32 (vocabulary) logits of the next.

        Raises:
            ToolkitError: the context is full, or no such token.
            NumericError: an activation overflowed.
        """
        if self.windows is not None:
            return self.prefill([token])
        if self.slots:
            self.slots.begin_pass()
        return self._run(token, self.slots)

    def prefill(self, tokens: Sequence[int]) -> Floats:
        """Take tokens of a prompt, at least one, and return the logits after the last.

        Raises: as `step`.
        """
        chunk = self.slots.chunk if self.slots else len(tokens)
        for first in range(0, len(tokens), chunk):
            routes = []
            for token in tokens[first : first + chunk]:
                logits = self._run(token, None)
                routes.append(self.routes.copy())
            if self.slots:
                self.slots.use_chunk(routes)
        return logits

    @property
    def input_count(self) -> int:
        """Different tokens that `step` takes."""
        return self.config.vocab_size if self.windows is None else len(self.windows)

    def classify(self, windows: Floats) -> Floats:
        """Take windows of a sequence, float32 (count, window_size), and return the scores of classes after the last.

        Raises:
            ToolkitError: the context is full, or the model is no classifier.
            NumericError: an activation overflowed.
        """
        if self.windows is None:
            raise ToolkitError("a language model takes tokens, not windows of a signal")
        self.windows = np.ascontiguousarray(windows, np.float32)
        return self.prefill(range(len(self.windows)))

    def _run(self, token: int, slots: Slots | None) -> Floats:
        """One step; `slots` where its routing looks at them."""
        if self.position >= self.config.max_position_embeddings:
            raise ToolkitError(
                f"the context of {self.config.max_position_embeddings} tokens is full", try_="start a new sequence"
            )
        floats = self.model.floats
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            x = self._project(token) if self.config.is_classifier else self._embed(token)
            for layer in range(self.config.num_hidden_layers):
                at = f"layers.{layer}."
                normed = quantize(rms_norm(x, self._eps, floats[at + "attn_norm"]))
                qkv = self._products[at + "qkv"](normed)
                if self.config.attention_bias:
                    qkv = qkv + floats[at + "qkv_bias"]
                heads = self._attend(layer, qkv)
                x = x + self._products[at + "o"](quantize(heads))
                x = x + self._mix_experts(layer, rms_norm(x, self._eps, floats[at + "moe_norm"]), slots)
            pooled = self._sum + x
            last = np.float32(0) + _ONE / np.float32(self.position + 1) * pooled if self.config.is_classifier else x
            head = self._products["embed" if self.config.tie_word_embeddings else "head"]
            logits = head(quantize(rms_norm(last, self._eps, floats["norm"])))
        self._sum = pooled
        self.position += 1
        return logits

    def _embed(self, token: int) -> Floats:
        if not 0 <= token < self.config.vocab_size:
            raise ToolkitError(f"token {token} is outside the vocabulary of {self.config.vocab_size}")
        embedding = self.model.matrices["embed"]
        x: Floats = embedding.q[token].astype(np.float32) * embedding.scale[token]
        return x

    def _project(self, token: int) -> Floats:
        if self.windows is None or not 0 <= token < len(self.windows):
            raise ToolkitError(f"there is no window {token}: they are {self.input_count}")
        floats, frames = self.model.floats, self.config.input_frames
        mean, gain = (np.tile(floats[name], frames) for name in ("input_mean", "input_gain"))
        u = (self.windows[token] - mean) * gain
        return self._products["input"](quantize(u)) + floats["input_bias"]

    def _attend(self, layer: int, qkv: Floats) -> Floats:
        c, p = self.config, self.position
        heads, kv_heads, size = c.num_attention_heads, c.num_key_value_heads, c.head_dim
        q, k, v = np.split(qkv.reshape(-1, size), [heads, heads + kv_heads])
        if c.pre_rotary_norm != "none":
            q, k = (self._norm_heads(t, self.model.floats[f"layers.{layer}.{x}_norm"]) for t, x in ((q, "q"), (k, "k")))
        q_int, q_scale = quantize(self._rotate(q))
        self._keys[layer, p], self._key_scales[layer, p] = quantize(self._rotate(k))
        self._values[layer, p], self._value_scales[layer, p] = quantize(v)
        w = _ONE / np.sqrt(np.float32(size))
        most = np.float32(min(32767, (1 << 24) // (p + 1)))
        out = np.zeros((heads, size), np.float32)
        for head in range(heads):
            kv = head // (heads // kv_heads)
            keys, values = (t[layer, : p + 1, kv].astype(np.float64) for t in (self._keys, self._values))
            z = (keys @ q_int[head].astype(np.float64)).astype(np.float32) * (
                (q_scale[head] * w) * self._key_scales[layer, : p + 1, kv]
            )
            e = exp(z - z.max())
            total = sum_lanes(e)
            a = e * self._value_scales[layer, : p + 1, kv]
            largest = a.max()
            if largest < _TINY:
                continue
            b = np.rint(a * (most / largest))
            out[head] = (b.astype(np.float64) @ values).astype(np.float32) * ((largest / most) / total)
        return out.reshape(-1)

    def _norm_heads(self, heads: Floats, weight: Floats) -> Floats:
        """Heads (n, size), normed with weights of one head or of all of them."""
        together = heads.reshape(-1, len(weight))
        return rms_norm(together, self._eps, weight).reshape(heads.shape)

    def _rotate(self, x: Floats) -> Floats:
        half = self.config.head_dim // 2
        cosine, sine = (self.model.floats["rotary." + t][self.position] for t in ("cos", "sin"))
        low, high = x[:, :half], x[:, half:]
        y = np.concatenate([low * cosine - high * sine, high * cosine + low * sine], axis=1)
        return rms_norm(y, self._eps) if self.config.qk_norm else y

    def _mix_experts(self, layer: int, normed: Floats, slots: Slots | None) -> Floats:
        c, at = self.config, f"layers.{layer}."
        x = quantize(normed)
        out = np.zeros(c.hidden_size, np.float32)
        if c.shared_width(layer):
            shared = self._feed_forward(at + "shared.", x)
            if c.shared_expert_gate and layer not in c.dense_layers:
                out = out + sigmoid(sum_lanes(normed * self.model.floats[at + "shared_gate"])) * shared
            else:
                out = shared
        if c.experts_of(layer):
            routed = c.routed_layers.index(layer)
            self._router_inputs[routed] = normed
            score, bias = self._score_experts(layer, normed)
            if slots:
                bias = np.where(slots.held(routed), bias + slots.margin, bias)
            chosen = np.sort(np.argsort(-(score + bias), kind="stable")[: c.num_experts_per_tok])
            self.routes[routed] = chosen
            if slots:
                slots.use_chosen(routed, chosen.tolist())
            gates = score[chosen]
            if c.norm_topk_prob:
                gates = gates / np.add.accumulate(np.concatenate([np.zeros(1, np.float32), gates]))[-1]
            self.gates[routed] = gates * np.float32(c.routed_scaling_factor)
            for expert, gate in zip(chosen, self.gates[routed], strict=True):
                out = out + gate * self._feed_forward(f"{at}experts.{expert}.", x)
        return out

    def _score_experts(self, layer: int, normed: Floats) -> tuple[Floats, Floats]:
        """(scores, bias) of a layer's router, float32 (experts)."""
        floats, at = self.model.floats, f"layers.{layer}.router."
        sums, bias = sum_lanes(floats[at + "weight"] * normed), floats[at + "bias"]
        if self.config.router_score == "sigmoid":
            return sigmoid(sums), bias
        e = exp(sums - sums.max())
        return e / sum_lanes(e), bias

    def guess_experts(self) -> NDArray[np.int64]:
        """What each router makes of what the one before it was given in the last step (SPEC.md 7.1, prefetch).

        Returns:
            int64 (routed layers, top_k), the likeliest first; -1 in the first, which none is before.
        """
        guesses = np.full(self.routes.shape, -1, np.int64)
        for routed, layer in enumerate(self.config.routed_layers[1:], 1):
            score, bias = self._score_experts(layer, self._router_inputs[routed - 1])
            guesses[routed] = np.argsort(-(score + bias), kind="stable")[: self.config.num_experts_per_tok]
        return guesses

    def _feed_forward(self, at: str, x: tuple[NDArray[np.int8], Floats]) -> Floats:
        gate, up = np.split(self._products[at + "gate_up"](x), 2)
        return self._products[at + "down"](quantize(silu(gate) * up))

    def encode(self, text: str) -> list[int]:
        """The tokens of a request, without the prefix and suffix."""
        return self.tokens.encode(text)

    def prompt_tokens(self, text: str) -> list[int]:
        """The tokens that a board is fed for a request: prefix, text, suffix."""
        generation = self.model.generation
        return [*generation.prefix_tokens, *self.encode(text), *generation.suffix_tokens]

    def stream(self, text: str, sampling: Sampling | None = None) -> Iterator[int]:
        """Answer to a request, token by token, from an empty context; greedy, or drawn.

        Raises:
            ToolkitError: the prompt does not fit the context.
        """
        context = self.config.max_position_embeddings
        return stream_tokens(self, context, self.model.generation, self.prompt_tokens(text), sampling)

    def generate(self, text: str, sampling: Sampling | None = None) -> str:
        """Answer to a request, as text."""
        return self.tokens.decode(list(self.stream(text, sampling)))


class Steps(Protocol):
    """A model that takes tokens: the golden, or a runtime on this machine."""

    @property
    def position(self) -> int:
        """Tokens taken since the last reset."""

    def reset(self) -> None:
        """Start a new sequence."""

    def prefill(self, tokens: Sequence[int]) -> Floats:
        """Take tokens of a prompt, return the logits after the last."""

    def step(self, token: int) -> Floats:
        """Take a token, return the logits."""


def stream_tokens(
    model: Steps, context: int, generation: GenerationConfig, prompt: Sequence[int], sampling: Sampling | None = None
) -> Iterator[int]:
    """A model's answer to a prompt, token by token, from an empty context; greedy, or drawn.

    Args:
        model: what answers.
        context: tokens that it holds.
        generation: when the answer ends.
        prompt: prefix and suffix included.
        sampling: None is greedy.

    Raises:
        ToolkitError: the prompt does not fit the context.
    """
    if len(prompt) > context:
        raise ToolkitError(
            f"the prompt is {len(prompt)} tokens, the context holds {context}", try_="a shorter prompt"
        )
    if not prompt:
        raise ToolkitError("the prompt is empty: no text, no prefix, no suffix", try_="give a text")
    model.reset()
    logits = model.prefill(prompt)
    for _ in range(generation.max_new_tokens):
        token = choose_token(logits, model.position, sampling)
        if token == generation.stop_token:
            return
        yield token
        if model.position == context:
            return
        logits = model.step(token)
