"""The golden against a plain float64 transformer, and its own rules."""

from pathlib import Path

import numpy as np
import pytest
from random_model import small_config, write_checkpoint

from mmoe_embed import golden
from mmoe_embed.checkpoint import load_checkpoint
from mmoe_embed.errors import ToolkitError, UsageError
from mmoe_embed.golden import Golden, choose_token
from mmoe_embed.quantize import quantize_checkpoint
from mmoe_embed.quantized import Quantized
from mmoe_embed.sampling import Sampling


def _model(folder: Path, scheme: str = "int8", **changes: object) -> Quantized:
    return quantize_checkpoint(load_checkpoint(write_checkpoint(folder, small_config(**changes))), scheme)


def _reference_logits(model: Quantized, tokens: list[int]) -> np.ndarray:
    """The same model with dequantized weights in float64 and no activation quantization."""
    c, f = model.config, {k: v.astype(np.float64) for k, v in model.floats.items()}
    w = {k: m.dequantize().astype(np.float64) for k, m in model.matrices.items()}
    d, heads, kv = c.head_dim, c.num_attention_heads, c.num_key_value_heads

    def norm(x: np.ndarray, weight: np.ndarray | float = 1.0) -> np.ndarray:
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + c.rms_norm_eps) * weight

    def feed_forward(at: str, x: np.ndarray) -> np.ndarray:
        gate, up = np.split(w[at + "gate_up"] @ x, 2)
        return w[at + "down"] @ (gate / (1 + np.exp(-gate)) * up)

    keys: list[list[np.ndarray]] = [[] for _ in range(c.num_hidden_layers)]
    values: list[list[np.ndarray]] = [[] for _ in range(c.num_hidden_layers)]
    for position, token in enumerate(tokens):
        x = w["embed"][token]
        angle = position * c.rope_theta ** (-2.0 * np.arange(d // 2) / d)
        cosine, sine = np.cos(angle), np.sin(angle)
        for layer in range(c.num_hidden_layers):
            at = f"layers.{layer}."
            q, k, v = np.split((w[at + "qkv"] @ norm(x, f[at + "attn_norm"])).reshape(-1, d), [heads, heads + kv])
            q, k = (
                np.concatenate(
                    [t[:, : d // 2] * cosine - t[:, d // 2 :] * sine, t[:, d // 2 :] * cosine + t[:, : d // 2] * sine],
                    1,
                )
                for t in (q, k)
            )
            if c.qk_norm:
                q, k = norm(q), norm(k)
            keys[layer].append(k)
            values[layer].append(v)
            past_k, past_v = np.stack(keys[layer]), np.stack(values[layer])
            out = []
            for head in range(heads):
                g = head // (heads // kv)
                z = past_k[:, g] @ q[head] / np.sqrt(d)
                p = np.exp(z - z.max())
                out.append(p / p.sum() @ past_v[:, g])
            x = x + w[at + "o"] @ np.concatenate(out)
            n = norm(x, f[at + "moe_norm"])
            y = feed_forward(at + "shared.", n) if c.shared_expert_intermediate_size else np.zeros_like(x)
            if c.num_experts:
                score = 1 / (1 + np.exp(-f[at + "router.weight"] @ n))
                chosen = np.argsort(-(score + f[at + "router.bias"]), kind="stable")[: c.num_experts_per_tok]
                for e in chosen:
                    y = y + score[e] / score[chosen].sum() * c.routed_scaling_factor * feed_forward(
                        f"{at}experts.{e}.", n
                    )
            x = x + y
    return w["embed"] @ norm(x, f["norm"])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"qk_norm": False},
        {"shared_expert_intermediate_size": 0},
        {"num_experts_per_tok": 6},
        {"num_experts": 0, "num_experts_per_tok": 0},
        {"num_experts": 1, "num_experts_per_tok": 1},
    ],
)
def test_golden_follows_the_float_model(tmp_path: Path, changes: dict[str, object]) -> None:
    model = _model(tmp_path, **changes)
    tokens = [0, 40, 99, 7, 260]
    runner = Golden(model)
    logits = [runner.step(token) for token in tokens][-1]
    expected = _reference_logits(model, tokens)
    # the difference is activation quantization alone, 7 bits at every product
    assert np.linalg.norm(logits - expected) < 0.06 * np.linalg.norm(expected)


def test_draws_follow_the_weights() -> None:
    logits = np.log(np.array([1, 2, 4, 8, 1], np.float32))
    drawn = [choose_token(logits, position, Sampling(1.0, 4, 7)) for position in range(4000)]
    counts = np.bincount(drawn, minlength=5) / 4000
    assert np.abs(counts - np.array([1, 2, 4, 8, 0]) / 15).max() < 0.025  # the last one is the fifth: not kept
    assert drawn == [choose_token(logits, position, Sampling(1.0, 4, 7)) for position in range(4000)]
    assert drawn != [choose_token(logits, position, Sampling(1.0, 4, 8)) for position in range(4000)]
    cold = {choose_token(logits, position, Sampling(0.001)) for position in range(50)}
    assert cold == {choose_token(logits, 0)} == {3}


@pytest.mark.parametrize("bad", [(0.0, 0, 0), (1.0, -1, 0), (1.0, 0, 2**32), (2000.0, 0, 0)])
def test_sampling_out_of_range_is_refused(bad: tuple[float, int, int]) -> None:
    with pytest.raises(UsageError):
        Sampling(*bad)


def test_exp_is_accurate() -> None:
    x = np.linspace(-87, 87, 100_001).astype(np.float32)
    exact = np.exp(x.astype(np.float64))
    error = np.abs(golden.exp(x) / exact - 1)
    assert error.max() < 6.7e-6
    assert error[np.abs(x) <= 10].max() < 3.5e-6


def test_sum_lanes_uses_the_written_order() -> None:
    x = np.array([1e8, 1, 1, 1, -1e8, 1, 1], np.float32)
    lanes = [np.float32(1e8) + np.float32(-1e8), np.float32(2), np.float32(2), np.float32(1)]
    assert golden.sum_lanes(x) == (lanes[0] + lanes[1]) + (lanes[2] + lanes[3])


def test_quantize_of_zeros_and_tiny_values_is_zero() -> None:
    q, scale = golden.quantize(np.full(5, 2.0**-65, np.float32))
    assert (q.tolist(), float(scale)) == ([0] * 5, 0.0)


def test_quantize_refuses_infinity() -> None:
    with pytest.raises(golden.NumericError):
        golden.quantize(np.array([1, np.inf], np.float32))


def test_step_refuses_a_full_context_and_a_wrong_token(tmp_path: Path) -> None:
    runner = Golden(_model(tmp_path, max_position_embeddings=8))
    with pytest.raises(ToolkitError, match="token 300 is outside"):
        runner.step(300)
    for _ in range(8):
        runner.step(5)
    with pytest.raises(ToolkitError, match="context of 8 tokens is full"):
        runner.step(5)


def test_generate_is_repeatable(tmp_path: Path) -> None:
    runner = Golden(_model(tmp_path))
    assert runner.generate("call mum") == runner.generate("call mum")
