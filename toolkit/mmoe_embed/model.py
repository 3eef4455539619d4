"""The model in PyTorch, float32, for training (SPEC.md 1 and 3.5 without the integers)."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmoe_embed.config import ModelConfig
from mmoe_embed.rotary import rotary_tables
from mmoe_embed.train.fake_quant import fake_quantize_activations, fake_quantize_weights


@dataclasses.dataclass(frozen=True)
class RouterReport:
    """What the routers of one forward pass did."""

    z_loss: Tensor  # scalar, mean over tokens and layers of logsumexp(logits)^2
    load: Tensor  # int64 (layers that have experts, experts), tokens sent to each expert
    scores: tuple[Tensor, ...]  # of each layer that has experts: (batch * time, experts)


class Quantizer:
    """How a forward pass rounds: not at all, or as the integers of a scheme will.

    Args:
        scheme: "int8", "int4" (embedding INT8), or None for float.
    """

    def __init__(self, scheme: str | None = None) -> None:
        self.scheme = scheme

    def linear(self, weights: Tensor) -> Tensor:
        """A linear layer's weights."""
        return weights if self.scheme is None else fake_quantize_weights(weights, 4 if self.scheme == "int4" else 8)

    def embedding(self, weights: Tensor) -> Tensor:
        """The embedding, a classifier's first layer, or the head: INT8 in both schemes."""
        return weights if self.scheme is None else fake_quantize_weights(weights, 8)

    def activations(self, x: Tensor) -> Tensor:
        """A vector that a matrix is about to be applied to."""
        return x if self.scheme is None else fake_quantize_activations(x)


class Norm(nn.Module):
    """RMSNorm with a weight."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return functional.rms_norm(x, (x.shape[-1],), self.weight, self.eps)


class Projection(nn.Module):
    """A weight matrix (rows, columns), named as in the checkpoint, and where asked for a bias (rows)."""

    def __init__(self, rows: int, columns: int, std: float, bias: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(rows, columns) * std)
        self.bias = nn.Parameter(torch.zeros(rows)) if bias else None


class WindowInput(nn.Module):
    """A classifier's first layer: windows of a signal, brought to one scale and projected (SPEC.md 3.8)."""

    mean: Tensor
    gain: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.frames = config.input_frames
        self.register_buffer("mean", torch.zeros(config.input_channels))
        self.register_buffer("gain", torch.ones(config.input_channels))
        self.proj = Projection(config.hidden_size, config.window_size, config.window_size**-0.5, bias=True)

    def forward(self, windows: Tensor, quantizer: Quantizer) -> Tensor:
        """Apply to (batch, time, window_size)."""
        scaled = (windows - self.mean.repeat(self.frames)) * self.gain.repeat(self.frames)
        return functional.linear(quantizer.activations(scaled), quantizer.embedding(self.proj.weight), self.proj.bias)


class Attention(nn.Module):
    """Causal attention with grouped key/value heads and rotary positions."""

    def __init__(self, config: ModelConfig, std: float, out_std: float) -> None:
        super().__init__()
        self.config = config
        self.q_proj = Projection(config.attention_width, config.hidden_size, std, config.attention_bias)
        self.k_proj = Projection(config.key_width, config.hidden_size, std, config.attention_bias)
        self.v_proj = Projection(config.key_width, config.hidden_size, std, config.attention_bias)
        if config.pre_rotary_norm != "none":
            self.q_norm = Norm(config.query_norm_size, config.rms_norm_eps)
            self.k_norm = Norm(config.key_norm_size, config.rms_norm_eps)
        self.o_proj = Projection(config.hidden_size, config.attention_width, out_std)

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, quantizer: Quantizer, visible: Tensor | None = None
    ) -> Tensor:
        """Attend within each row of x, (batch, time, hidden), already normed.

        `visible`, bool (batch, 1, time, time), says which keys each query sees; all before it when absent.
        """
        c = self.config
        batch, steps, _ = x.shape
        projections = (self.q_proj, self.k_proj, self.v_proj)
        weights = quantizer.linear(torch.cat([projection.weight for projection in projections]))
        biases: list[Tensor] = [projection.bias for projection in projections if projection.bias is not None]
        bias = torch.cat(biases) if biases else None
        joined = functional.linear(quantizer.activations(x), weights, bias)
        q, k, v = torch.split(joined, [c.attention_width, c.key_width, c.key_width], dim=-1)
        if c.pre_rotary_norm != "none":
            q = self.q_norm(q.reshape(batch, steps, -1, c.query_norm_size))
            k = self.k_norm(k.reshape(batch, steps, -1, c.key_norm_size))
        q, k, v = (t.reshape(batch, steps, -1, c.head_dim).transpose(1, 2) for t in (q, k, v))
        q, k = (self._place(t, cos, sin) for t in (q, k))
        q, k, v = (quantizer.activations(t) for t in (q, k, v))
        out = functional.scaled_dot_product_attention(
            q, k, v, visible, is_causal=visible is None, enable_gqa=c.num_key_value_heads != c.num_attention_heads
        )
        out = out.transpose(1, 2).reshape(batch, steps, c.attention_width)
        return functional.linear(quantizer.activations(out), quantizer.linear(self.o_proj.weight))

    def _place(self, t: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Rotary in split halves, then the head norm where configured; t is (batch, heads, time, head_dim)."""
        first, second = t.chunk(2, dim=-1)
        t = torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
        return functional.rms_norm(t, (t.shape[-1],), None, self.config.rms_norm_eps) if self.config.qk_norm else t


class SharedExpert(nn.Module):
    """A SwiGLU that every token goes through."""

    def __init__(self, hidden: int, width: int, std: float, out_std: float) -> None:
        super().__init__()
        self.gate_proj = Projection(width, hidden, std)
        self.up_proj = Projection(width, hidden, std)
        self.down_proj = Projection(hidden, width, out_std)

    def forward(self, n: Tensor, quantizer: Quantizer) -> Tensor:
        """Apply to (tokens, hidden), already quantized."""
        joined = functional.linear(n, quantizer.linear(torch.cat([self.gate_proj.weight, self.up_proj.weight])))
        gate, up = joined.chunk(2, dim=-1)
        return functional.linear(
            quantizer.activations(functional.silu(gate) * up), quantizer.linear(self.down_proj.weight)
        )


# (inputs, counts, apply): sends inputs, sorted by expert, to where the experts are, and their outputs back
Dispatch = Callable[[Tensor, Tensor, Callable[[Tensor, Tensor], Tensor]], Tensor]


def _stay(inputs: Tensor, counts: Tensor, apply: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    return apply(inputs, counts)


class RoutedExperts(nn.Module):
    """The routed experts' weights, stacked."""

    def __init__(self, config: ModelConfig, std: float, out_std: float) -> None:
        super().__init__()
        experts, width, hidden = config.num_experts, config.moe_intermediate_size, config.hidden_size
        self.num_experts = experts
        self.dispatch: Dispatch = _stay
        self.gate_proj = nn.Parameter(torch.randn(experts, width, hidden) * std)
        self.up_proj = nn.Parameter(torch.randn(experts, width, hidden) * std)
        self.down_proj = nn.Parameter(torch.randn(experts, hidden, width) * out_std)

    def forward(self, n: Tensor, chosen: Tensor, gates: Tensor, quantizer: Quantizer, capacity: float = 0.0) -> Tensor:
        """Send each token to its experts.

        Args:
            n: (tokens, hidden), already quantized.
            chosen: int64 (tokens, k).
            gates: (tokens, k).
            quantizer: how to round.
            capacity: an expert takes at most this times tokens * k / experts, the earliest; 0 drops none.
        """
        tokens, k = chosen.shape
        flat = chosen.flatten()
        order = flat.argsort(stable=True)
        counts = torch.bincount(flat, minlength=self.num_experts)
        if capacity:
            room = math.ceil(capacity * tokens * k / self.num_experts)
            place = torch.arange(len(order)) - (counts.cumsum(0) - counts)[flat[order]]
            order, counts = order[place < room], counts.clamp(max=room)
        outputs = self.dispatch(n[order // k], counts, lambda x, c: self.apply_sorted(x, c, quantizer))
        back = torch.full_like(flat, len(order))
        back[order] = torch.arange(len(order))
        if len(order) < len(flat):  # what was dropped adds nothing
            outputs = torch.cat([outputs, outputs.new_zeros(1, outputs.shape[1])])
        return (outputs[back].view(tokens, k, -1) * gates[..., None]).sum(dim=1)

    def apply_sorted(self, inputs: Tensor, counts: Tensor, quantizer: Quantizer) -> Tensor:
        """The experts of this process on (tokens, hidden) inputs that lie expert after expert, `counts` for each."""
        split = counts.tolist()
        gate_up = quantizer.linear(torch.cat([self.gate_proj, self.up_proj], dim=1))
        down = quantizer.linear(self.down_proj)
        joined = torch.cat([x @ w.T for x, w in zip(torch.split(inputs, split), gate_up.unbind(), strict=True)])
        gate, up = joined.chunk(2, dim=-1)
        hidden = torch.split(quantizer.activations(functional.silu(gate) * up), split)
        return torch.cat([x @ w.T for x, w in zip(hidden, down.unbind(), strict=True)])


class Router(nn.Module):
    """Scores experts; the bias takes part in the choice only and is not trained by gradients."""

    bias: Tensor

    def __init__(self, config: ModelConfig, std: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(config.num_experts, config.hidden_size) * std)
        self.register_buffer("bias", torch.zeros(config.num_experts))
        self.config = config

    def forward(self, n: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(chosen experts, their gates, router logits) of (tokens, hidden) inputs."""
        logits = functional.linear(n, self.weight)
        scores = self.score(logits)
        chosen = (scores.detach() + self.bias).topk(self.config.num_experts_per_tok, dim=-1).indices
        gates = scores.gather(-1, chosen)
        if self.config.norm_topk_prob:
            gates = gates / gates.sum(dim=-1, keepdim=True)
        return chosen, gates * self.config.routed_scaling_factor, logits

    def score(self, logits: Tensor) -> Tensor:
        """(tokens, experts), 0..1."""
        return logits.sigmoid() if self.config.router_score == "sigmoid" else logits.softmax(dim=-1)


class Moe(nn.Module):
    """Shared expert plus routed experts; either may be absent."""

    def __init__(self, config: ModelConfig, layer: int, std: float, out_std: float) -> None:
        super().__init__()
        if config.experts_of(layer):
            self.router = Router(config, std)
            self.experts = RoutedExperts(config, std, out_std)
        if config.shared_width(layer):
            self.shared = SharedExpert(config.hidden_size, config.shared_width(layer), std, out_std)
        if config.shared_expert_gate and layer not in config.dense_layers:
            self.shared_gate = Projection(1, config.hidden_size, std)

    def forward(
        self, n: Tensor, quantizer: Quantizer, capacity: float = 0.0
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """(output, router logits, chosen experts) of (tokens, hidden) inputs."""
        rounded = quantizer.activations(n)
        out = self.shared(rounded, quantizer) if hasattr(self, "shared") else torch.zeros_like(n)
        if hasattr(self, "shared_gate"):
            out = functional.linear(n, self.shared_gate.weight).sigmoid() * out
        if not hasattr(self, "router"):
            return out, None, None
        chosen, gates, logits = self.router(n)
        return out + self.experts(rounded, chosen, gates, quantizer, capacity), logits, chosen


class Layer(nn.Module):
    """One block: attention, then experts, each after a norm."""

    def __init__(self, config: ModelConfig, layer: int, std: float, out_std: float) -> None:
        super().__init__()
        self.attn_norm = Norm(config.hidden_size, config.rms_norm_eps)
        self.attn = Attention(config, std, out_std)
        self.moe_norm = Norm(config.hidden_size, config.rms_norm_eps)
        self.moe = Moe(config, layer, std, out_std)


class MoeModel(nn.Module):
    """A language model or a classifier of any supported shape; its state dict has the checkpoint's names."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        std = config.hidden_size**-0.5
        out_std = std / (2 * config.num_hidden_layers) ** 0.5
        if config.is_classifier:
            self.input = WindowInput(config)
        else:
            self.embed_tokens = Projection(config.vocab_size, config.hidden_size, std)
        self.layers = nn.ModuleList(Layer(config, n, std, out_std) for n in range(config.num_hidden_layers))
        self.norm = Norm(config.hidden_size, config.rms_norm_eps)
        if not config.tie_word_embeddings:
            self.lm_head = Projection(config.vocab_size, config.hidden_size, std)
        for name, table in zip(("cos", "sin"), rotary_tables(config), strict=True):
            self.register_buffer(name, torch.from_numpy(table), persistent=False)

    def forward(
        self,
        tokens: Tensor,
        wanted: Tensor | None = None,
        scheme: str | None = None,
        counted: Tensor | None = None,
        documents: Tensor | None = None,
        capacity: float = 0.0,
    ) -> tuple[Tensor, RouterReport]:
        """Logits of the next token, or of a classifier's classes after each window.

        Args:
            tokens: int64 (batch, time), time <= max_position_embeddings; rows padded at their end. Of a
                classifier float32 (batch, time, window_size).
            wanted: bool (batch, time), where logits are wanted; everywhere when absent.
            scheme: round as "int8" or "int4" would; None computes in float.
            counted: bool (batch, time), tokens that count in the router report; all when absent.
            documents: int64 (batch, time), rising; a token sees only its own document. One a row when absent.
            capacity: an expert takes at most this times an even share of the tokens, the earliest; 0 drops none.

        Returns:
            (logits, report): float32 (batch, time, vocabulary), or (wanted ones, vocabulary).
        """
        quantizer = Quantizer(scheme)
        steps = tokens.shape[1]
        cos, sin = self.cos[:steps], self.sin[:steps]  # type: ignore[index]
        if self.config.is_classifier:
            x = self.input(tokens, quantizer)
        else:
            embedding = quantizer.embedding(self.embed_tokens.weight)
            x = functional.embedding(tokens, embedding)
        counted = torch.ones(x.shape[:2], dtype=torch.bool) if counted is None else counted
        real = counted.flatten().nonzero().flatten()
        visible = None
        if documents is not None:
            causal = torch.ones(steps, steps, dtype=torch.bool).tril()
            visible = ((documents[:, :, None] == documents[:, None, :]) & causal)[:, None]
        z_loss, loads, scores = x.new_zeros(()), [], []
        for module in self.layers:
            layer: Any = module
            x = x + layer.attn(layer.attn_norm(x), cos, sin, quantizer, visible)
            out, logits, chosen = layer.moe(layer.moe_norm(x).flatten(0, 1), quantizer, capacity)
            x = x + out.view_as(x)
            if logits is not None:
                z_loss = z_loss + logits[real].logsumexp(dim=-1).square().mean() / len(self.config.routed_layers)
                loads.append(torch.bincount(chosen[real].flatten(), minlength=self.config.num_experts))
                scores.append(layer.moe.router.score(logits))
        if self.config.is_classifier:
            x = x.cumsum(dim=1) / torch.arange(1, steps + 1)[:, None]
        x = x.flatten(0, 1)[wanted.flatten().nonzero().flatten()] if wanted is not None else x
        head = quantizer.activations(self.norm(x))
        load = torch.stack(loads) if loads else torch.zeros(0, 0, dtype=torch.int64)
        if not self.config.tie_word_embeddings:
            embedding = quantizer.embedding(self.lm_head.weight)
        return functional.linear(head, embedding), RouterReport(z_loss, load, tuple(scores))

    @torch.no_grad()
    def balance(self, load: Tensor, rate: float) -> None:
        """Move each router's bias by `rate` towards the experts that got less than their share (arXiv 2408.15664)."""
        for layer, counts in zip(self.config.routed_layers, load, strict=False):
            share = counts.float()
            moe: Any = self.layers[layer].moe
            moe.router.bias += rate * (share.mean() - share).sign()

    def load_numpy(self, tensors: Mapping[str, Any]) -> None:
        """Take the tensors of a checkpoint (`mmoe_embed.checkpoint.Checkpoint.tensors`)."""
        self.load_state_dict({name: torch.from_numpy(t.copy()) for name, t in tensors.items()})
