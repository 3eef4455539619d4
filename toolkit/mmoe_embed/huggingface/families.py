"""What each family's config.json means in ours, and how its tensors are called."""

import dataclasses
from collections.abc import Callable
from typing import Any

from mmoe_embed.huggingface.keys import Keys
from mmoe_embed.huggingface.layout import Names
from mmoe_embed.huggingface.rope import read_rope


@dataclasses.dataclass(frozen=True)
class Family:
    """One `model_type`."""

    read: Callable[[Keys], dict[str, Any]]  # the keys of our config.json, from theirs
    names: Names


def _read_common(keys: Keys) -> dict[str, Any]:
    """What every family has, with Hugging Face's defaults."""
    heads, hidden = keys.number("num_attention_heads"), keys.number("hidden_size")
    head_dim = keys.take("head_dim", default=hidden // max(1, heads))
    keys.refuse("hidden_act", "silu", "an activation other than SiLU")
    keys.refuse("partial_rotary_factor", 1.0, "rotary on a part of each head")
    return {
        "vocab_size": keys.number("vocab_size"),
        "hidden_size": hidden,
        "num_hidden_layers": keys.number("num_hidden_layers"),
        "num_attention_heads": heads,
        "num_key_value_heads": keys.take("num_key_value_heads", default=heads),
        "head_dim": head_dim,
        "num_experts": keys.number("num_experts", "num_local_experts", "n_routed_experts"),
        "num_experts_per_tok": keys.number("num_experts_per_tok"),
        "shared_expert_intermediate_size": 0,
        "rms_norm_eps": keys.take("rms_norm_eps", default=1e-6),
        "routed_scaling_factor": 1.0,
        "max_position_embeddings": keys.take_context(),
        "qk_norm": False,
        "tie_word_embeddings": keys.take("tie_word_embeddings", default=False),
        "router_score": "softmax",
        **read_rope(keys, head_dim),
    }


def _read_mobilemoe(keys: Keys) -> dict[str, Any]:
    common = _read_common(keys)
    keys.refuse("interleave_moe_layer_step", 1, "layers without experts between those with")
    keys.refuse("attn_temperature_tuning", False, "attention with a temperature")
    keys.refuse("attention_bias", False, "biases of the attention's projections")
    keys.refuse_other_layers("layer_types", "full_attention", "attention of other kinds")
    keys.refuse_other_layers("no_rope_layers", 1, "layers without rotary")
    keys.take("quantization")  # read with the tensors
    return common | {
        "moe_intermediate_size": keys.number("intermediate_size"),
        "shared_expert_intermediate_size": keys.number("intermediate_size_mlp"),
        "routed_scaling_factor": keys.take("routed_scaling_factor", default=1.0),
        "qk_norm": keys.take("use_qk_norm", default=True),
        "router_score": "sigmoid",
        "norm_topk_prob": keys.take("norm_topk_prob", default=True),
    }


def _read_mixtral(keys: Keys) -> dict[str, Any]:
    common = _read_common(keys)
    keys.refuse_window(keys.take("sliding_window"))
    return common | {"moe_intermediate_size": keys.number("intermediate_size")}


def _read_olmoe(keys: Keys) -> dict[str, Any]:
    common = _read_common(keys)
    keys.refuse("clip_qkv", None, "queries, keys and values that are clipped")
    keys.refuse("attention_bias", False, "biases of the attention's projections")
    return common | {
        "moe_intermediate_size": keys.number("intermediate_size"),
        "norm_topk_prob": keys.take("norm_topk_prob", default=False),
        "pre_rotary_norm": "width",
    }


def _read_qwen(keys: Keys) -> dict[str, Any]:
    common = _read_common(keys)
    window = keys.take("sliding_window")
    keys.refuse_window(window if keys.take("use_sliding_window", default=False) else None)
    keys.take("layer_types")  # says the same of each layer
    layers, step = common["num_hidden_layers"], keys.take("decoder_sparse_step", default=1)
    only = keys.take("mlp_only_layers", default=[])
    dense = [layer for layer in range(layers) if layer in only or (layer + 1) % step]
    width = keys.take("intermediate_size", default=0)
    return common | {
        "moe_intermediate_size": keys.number("moe_intermediate_size"),
        "norm_topk_prob": keys.take("norm_topk_prob", default=False),
        "dense_layers": dense,
        "dense_intermediate_size": width if dense else 0,
    }


def _read_qwen2_moe(keys: Keys) -> dict[str, Any]:
    return _read_qwen(keys) | {
        "shared_expert_intermediate_size": keys.number("shared_expert_intermediate_size"),
        "shared_expert_gate": True,
        "attention_bias": keys.take("qkv_bias", default=True),
    }


def _read_qwen3_moe(keys: Keys) -> dict[str, Any]:
    keys.refuse("attention_bias", False, "biases of the attention's projections")
    return _read_qwen(keys) | {"pre_rotary_norm": "head"}


def _read_deepseek(keys: Keys) -> dict[str, Any]:
    """DeepSeekMoE, and what followed it with ordinary attention."""
    common = _read_common(keys)
    keys.refuse("attention_bias", False, "biases of the attention's projections")
    keys.refuse("moe_layer_freq", 1, "layers without experts between those with")
    keys.refuse("n_group", 1, "routing limited to groups of experts")
    keys.take("topk_group")
    first, width = keys.take("first_k_dense_replace", default=0), keys.number("moe_intermediate_size")
    dense_width = keys.take("intermediate_size", default=0)
    return common | {
        "moe_intermediate_size": width,
        "shared_expert_intermediate_size": width * keys.take("n_shared_experts", default=0),
        "routed_scaling_factor": keys.take("routed_scaling_factor", default=1.0),
        "norm_topk_prob": keys.take("norm_topk_prob", default=False),
        "dense_layers": list(range(first)),
        "dense_intermediate_size": dense_width if first else 0,
    }


def _read_deepseek_1(keys: Keys) -> dict[str, Any]:
    keys.refuse("topk_method", "greedy", "routing limited to groups of experts")
    return _read_deepseek(keys) | {"router_score": keys.take("scoring_func", default="softmax")}


def _read_dots1(keys: Keys) -> dict[str, Any]:
    kinds, window = keys.take("layer_types", default=[]), keys.take("sliding_window")
    first = keys.take("max_window_layers", default=keys.number("num_hidden_layers"))
    slides = "sliding_attention" in kinds or (not kinds and first < keys.number("num_hidden_layers"))
    keys.refuse_window(window if slides else None)
    return _read_deepseek(keys) | {"router_score": "sigmoid", "pre_rotary_norm": "head"}


FAMILIES = {
    "mobilemoe": Family(
        _read_mobilemoe,
        Names(
            block="feed_forward",
            router="router.weight",
            router_bias="expert_bias",
            experts=("gate_up_proj", "down_proj"),
            shared="shared_expert",
            rotates_pairs=True,
        ),
    ),
    "olmoe": Family(_read_olmoe, Names()),
    "qwen3_moe": Family(_read_qwen3_moe, Names()),
    "qwen2_moe": Family(_read_qwen2_moe, Names(shared="shared_expert")),
    "mixtral": Family(_read_mixtral, Names(block="block_sparse_moe", experts=("w1", "w3", "w2"))),
    "deepseek": Family(_read_deepseek_1, Names(shared="shared_experts")),
    "dots1": Family(_read_dots1, Names(router_bias="gate.e_score_correction_bias", shared="shared_experts")),
}
