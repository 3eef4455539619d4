"""Checkpoints of real sizes with random weights: what a bench needs, as speed does not look at values."""

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, pre_tokenizers

from mmoe_embed.checkpoint import tensor_shapes
from mmoe_embed.config import GenerationConfig, ModelConfig
from mmoe_embed.tensors import BFLOAT16, TensorKind, create_tensors, header_bytes

CONTEXT = 2048
# MobileMoE-S (arXiv 2605.27358): 1.26 B parameters, 272 M of them active
MOBILEMOE_S = ModelConfig(
    vocab_size=128256,
    hidden_size=768,
    num_hidden_layers=20,
    num_attention_heads=12,
    num_key_value_heads=4,
    head_dim=64,
    num_experts=60,
    num_experts_per_tok=4,
    moe_intermediate_size=384,
    shared_expert_intermediate_size=1536,
    rope_theta=500000.0,
    max_position_embeddings=CONTEXT,
)
# MobileLLM-Pro: 1.08 B parameters, dense
MOBILELLM_PRO = ModelConfig(
    vocab_size=202048,
    hidden_size=1280,
    num_hidden_layers=30,
    num_attention_heads=20,
    num_key_value_heads=4,
    head_dim=64,
    num_experts=0,
    num_experts_per_tok=0,
    moe_intermediate_size=0,
    shared_expert_intermediate_size=6144,
    rope_theta=500000.0,
    max_position_embeddings=CONTEXT,
)
MODELS = {"mobilemoe_s": MOBILEMOE_S, "mobilellm_pro": MOBILELLM_PRO}
_BLOCK = 1 << 22  # values made at once
_ROUTED, _TRIES, _STEP = 2048, 100, 0.03  # of find_router_bias: tokens, times the biases are moved, how far
_SIGN_AND_FRACTION = 0x807F  # of a bfloat16; the exponent is the same for all


def _exponent(columns: int) -> int:
    """Of weights as bfloat16 has it: 1 / sqrt(columns), so that activations keep their size."""
    return 127 - round(math.log2(columns) / 2)


def find_router_bias(config: ModelConfig, zipf: float) -> NDArray[np.float64]:
    """Biases (experts) that make random routers choose expert r about 1 / (r + 1)^zipf times.

    Found by trying: scores of random tokens, biases moved until the counts are those wanted.
    """
    # weights lie evenly between 1 and 2 times their power of two; inputs have a mean square of 1
    spread = 2.0 ** (_exponent(config.hidden_size) - 127) * math.sqrt(config.hidden_size * 7 / 3)
    scores = 1 / (1 + np.exp(-spread * np.random.default_rng(0).standard_normal((_ROUTED, config.num_experts))))
    wanted = 1 / np.arange(1, config.num_experts + 1) ** zipf
    wanted *= config.num_experts_per_tok / wanted.sum()
    bias, top_k = np.zeros(config.num_experts), config.num_experts_per_tok
    for _ in range(_TRIES):
        chosen = np.argpartition(-(scores + bias), top_k, axis=1)[:, :top_k]
        counts = np.bincount(chosen.reshape(-1), minlength=config.num_experts)
        bias += _STEP * np.log(wanted / (np.maximum(counts, 1) / _ROUTED))
    return np.asarray(bias - bias.mean(), np.float64)


def byte_tokenizer() -> str:
    """tokenizer.json of a byte-level BPE without merges: one token a byte."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: number for number, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(" ", "merged_with_next"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    return str(tokenizer.to_str())


def write_random_checkpoint(folder: Path, config: ModelConfig, seed: int = 0, zipf: float = 0.0) -> Path:
    """A checkpoint in bfloat16; weights are of either sign and spread over a factor of two, norms are 1, biases 0.

    Args:
        folder: is made.
        config: the shape.
        seed: the same seed gives the same bytes.
        zipf: not 0: the router's biases make a layer's experts used as 1 / rank^zipf, in an order of the layer's own.
    """
    shapes = tensor_shapes(config)
    kinds = {name: TensorKind(BFLOAT16, shape) for name, shape in shapes.items()}
    random = np.random.default_rng(seed)
    skew = find_router_bias(config, zipf) if zipf else None
    folder.mkdir(parents=True, exist_ok=True)
    with create_tensors(folder / "model.safetensors", header_bytes(kinds, {})) as file:
        for name, shape in shapes.items():
            flat = file.array(name, writable=True).reshape(-1)
            if "norm" in name or name.endswith("bias"):
                flat[:] = 0x3F80 if "norm" in name else 0
                if skew is not None and name.endswith("router.bias"):
                    flat[:] = random.permutation(skew).astype("<f4").view("<u4") >> 16
                continue
            exponent = _exponent(shape[-1]) << 7
            for start in range(0, flat.size, _BLOCK):
                part = flat[start : start + _BLOCK]
                part[:] = np.frombuffer(random.bytes(2 * part.size), "<u2") & _SIGN_AND_FRACTION | exponent
    (folder / "config.json").write_text(config.to_json())
    (folder / "tokenizer.json").write_text(byte_tokenizer())
    generation = GenerationConfig(stop_token=0, max_new_tokens=1)
    (folder / "generation_config.json").write_text(generation.to_json())
    return folder
