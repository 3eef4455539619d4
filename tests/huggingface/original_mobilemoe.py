"""MobileMoE, which transformers does not have, from its published description, in float and in its INT4 layout."""

import json
from pathlib import Path
from typing import Any

import torch
from originals import LLAMA3, VOCABULARY, Directory, finish_directory
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

CONFIG: dict[str, Any] = {
    "architectures": ["MobileMoEForCausalLM"],
    "attention_bias": False,
    "attn_temperature_tuning": False,
    "eos_token_id": [2, 1],
    "head_dim": 32,
    "hidden_act": "silu",
    "hidden_size": 64,
    "interleave_moe_layer_step": 1,
    "intermediate_size": 32,
    "intermediate_size_mlp": 128,
    "layer_types": ["full_attention"] * 2,
    "max_position_embeddings": 64,
    "model_type": "mobilemoe",
    "no_rope_layers": [1, 1],
    "norm_topk_prob": True,
    "num_attention_heads": 2,
    "num_experts_per_tok": 2,
    "num_hidden_layers": 2,
    "num_key_value_heads": 1,
    "num_local_experts": 5,
    "rms_norm_eps": 1e-5,
    "rope_scaling": {k: v for k, v in LLAMA3.items() if k != "rope_theta"},
    "rope_theta": LLAMA3["rope_theta"],
    "routed_scaling_factor": 2.5,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "use_qk_norm": True,
    "vocab_size": VOCABULARY,
}
QUANTIZATION = {
    "format": "mobilemoe-int4-g32",
    "group_size": 32,
    "embedding_group_size": 32,
    "qmin": -8,
    "qmax": 7,
    "symmetric": True,
    "packed": True,
    "scale_dtype": "float16",
    "linear_group_axis": "in (last dim of [out, in])",
    "expert_group_axis": "out (last dim of [E, in, out])",
}


def write_mobilemoe(folder: Path, int4: bool = False, dtype: torch.dtype = torch.float32) -> Directory:
    """A tiny model of the published layout."""
    weights = _draw(torch.Generator().manual_seed(5))
    config, tensors = dict(CONFIG), {name: tensor.to(dtype) for name, tensor in weights.items()}
    if int4:
        config["quantization"] = QUANTIZATION
        tensors = {}
        for name, tensor in weights.items():
            if tensor.ndim == 1 or name.endswith("router.weight"):
                tensors[name] = tensor.to(torch.float32 if "router" in name else torch.bfloat16)
                weights[name] = tensors[name].float()
            else:
                integers, scales = _quantize(tensor)
                base = name.removesuffix("weight") if name.endswith(".weight") else name.removesuffix("proj")
                tensors[base + "qweight"] = integers[..., ::2] & 15 | integers[..., 1::2] << 4
                tensors[base + ("weight_scale" if name.endswith(".weight") else "scale")] = scales
                weights[name] = (integers.unflatten(-1, (-1, 32)) * scales.float()[..., None]).flatten(-2)
        tensors = {name: t.to(torch.uint8) if t.dtype == torch.int8 else t for name, t in tensors.items()}
    else:
        weights = {name: tensor.float() for name, tensor in tensors.items()}
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    save_file({n: t.contiguous() for n, t in tensors.items()}, folder / "model.safetensors", metadata={"format": "pt"})
    finish_directory(folder)
    return Directory(folder, lambda tokens: _run(weights, tokens).numpy())


def _draw(random: torch.Generator) -> dict[str, Tensor]:
    c, d, width = CONFIG, CONFIG["hidden_size"], CONFIG["intermediate_size"]
    experts, size = c["num_local_experts"], c["head_dim"]

    def matrix(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random) * 1.5 / shape[-1] ** 0.5

    def norm() -> Tensor:
        return 1 + 0.3 * torch.randn(d, generator=random)

    tensors = {"model.embed_tokens.weight": matrix(VOCABULARY, d), "model.norm.weight": norm()}
    for layer in range(c["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        tensors |= {at + "input_layernorm.weight": norm(), at + "post_attention_layernorm.weight": norm()}
        for x, heads in (("q", c["num_attention_heads"]), ("k", 1), ("v", 1)):
            tensors[f"{at}self_attn.{x}_proj.weight"] = matrix(heads * size, d)
        tensors |= {
            at + "self_attn.o_proj.weight": matrix(d, c["num_attention_heads"] * size),
            at + "feed_forward.router.weight": matrix(experts, d),
            at + "feed_forward.expert_bias": 0.2 * torch.randn(experts, generator=random),
            at + "feed_forward.experts.gate_up_proj": matrix(experts, d, 2 * width),
            at + "feed_forward.experts.down_proj": matrix(experts, width, d),
            at + "feed_forward.shared_expert.gate_proj.weight": matrix(c["intermediate_size_mlp"], d),
            at + "feed_forward.shared_expert.up_proj.weight": matrix(c["intermediate_size_mlp"], d),
            at + "feed_forward.shared_expert.down_proj.weight": matrix(d, c["intermediate_size_mlp"]),
        }
    return tensors


def _quantize(weights: Tensor) -> tuple[Tensor, Tensor]:
    """int8 of -8..7 in groups of 32 along the last axis, and float16 scales."""
    grouped = weights.unflatten(-1, (-1, 32))
    scales = (2 * grouped.abs().amax(dim=-1) / 15).to(torch.float16)
    q = (grouped / scales.float()[..., None]).round().clamp(-8, 7)
    return q.flatten(-2).to(torch.int8), scales


def _rotate(x: Tensor) -> Tensor:
    """(time, heads, size): neighbouring elements turn together, then each head is normed."""
    size = x.shape[-1]
    frequency = torch.tensor(
        [_stretch(CONFIG["rope_theta"] ** (-2 * i / size)) for i in range(size // 2)], dtype=torch.float64
    )
    angle = torch.arange(len(x), dtype=torch.float64)[:, None] * frequency
    turned = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous()) * torch.polar(torch.ones(1).double(), angle)[
        :, None
    ].to(torch.complex64)
    return functional.rms_norm(torch.view_as_real(turned).flatten(-2), (size,), None, CONFIG["rms_norm_eps"])


def _stretch(frequency: float) -> float:
    """Llama 3.1's rule."""
    s = CONFIG["rope_scaling"]
    length, factor = 2 * torch.pi / frequency, s["factor"]
    old, low, high = s["original_max_position_embeddings"], s["low_freq_factor"], s["high_freq_factor"]
    if length < old / high:
        return frequency
    if length > old / low:
        return frequency / factor
    smooth = (old / length - low) / (high - low)
    return float((1 - smooth) * frequency / factor + smooth * frequency)


def _run(weights: dict[str, Tensor], tokens: list[int]) -> Tensor:
    c = CONFIG
    x = weights["model.embed_tokens.weight"][tokens]
    for layer in range(c["num_hidden_layers"]):
        at = {name.removeprefix(f"model.layers.{layer}."): t for name, t in weights.items()}
        n = functional.rms_norm(x, (x.shape[-1],), at["input_layernorm.weight"], c["rms_norm_eps"])
        q, k, v = (
            (n @ at[f"self_attn.{name}_proj.weight"].T).unflatten(-1, (-1, c["head_dim"])) for name in ("q", "k", "v")
        )
        q, k, v = (t.transpose(0, 1) for t in (_rotate(q), _rotate(k), v))
        heads = functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        x = x + heads.transpose(0, 1).flatten(-2) @ at["self_attn.o_proj.weight"].T
        n = functional.rms_norm(x, (x.shape[-1],), at["post_attention_layernorm.weight"], c["rms_norm_eps"])
        x = x + torch.stack([_feed_forward(at, token) for token in n])
    n = functional.rms_norm(x, (x.shape[-1],), weights["model.norm.weight"], c["rms_norm_eps"])
    return n @ weights["model.embed_tokens.weight"].T


def _feed_forward(at: dict[str, Tensor], n: Tensor) -> Tensor:
    shared = [at[f"feed_forward.shared_expert.{name}_proj.weight"] for name in ("gate", "up", "down")]
    out = shared[2] @ (functional.silu(shared[0] @ n) * (shared[1] @ n))
    scores = torch.sigmoid(at["feed_forward.router.weight"] @ n)
    chosen = (scores + at["feed_forward.expert_bias"]).topk(CONFIG["num_experts_per_tok"]).indices
    for expert in chosen.tolist():
        gate, up = (n @ at["feed_forward.experts.gate_up_proj"][expert]).chunk(2)
        weight = scores[expert] / scores[chosen].sum() * CONFIG["routed_scaling_factor"]
        out = out + weight * ((functional.silu(gate) * up) @ at["feed_forward.experts.down_proj"][expert])
    return out
