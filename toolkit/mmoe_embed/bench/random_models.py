"""Checkpoints of real sizes with random weights: what a bench needs, as speed does not look at values."""

import math
from pathlib import Path

import numpy as np
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
_SIGN_AND_FRACTION = 0x807F  # of a bfloat16; the exponent is the same for all


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


def write_random_checkpoint(folder: Path, config: ModelConfig, seed: int = 0) -> Path:
    """A checkpoint in bfloat16; weights are of either sign and spread over a factor of two, norms are 1, biases 0.

    Args:
        folder: is made.
        config: the shape.
        seed: the same seed gives the same bytes.
    """
    shapes = tensor_shapes(config)
    kinds = {name: TensorKind(BFLOAT16, shape) for name, shape in shapes.items()}
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    with create_tensors(folder / "model.safetensors", header_bytes(kinds, {})) as file:
        for name, shape in shapes.items():
            flat = file.array(name, writable=True).reshape(-1)
            if "norm" in name or name.endswith("bias"):
                flat[:] = 0x3F80 if "norm" in name else 0
                continue
            # 1 / sqrt(columns), so that activations keep their size
            exponent = (127 - round(math.log2(shape[-1]) / 2)) << 7
            for start in range(0, flat.size, _BLOCK):
                part = flat[start : start + _BLOCK]
                part[:] = np.frombuffer(random.bytes(2 * part.size), "<u2") & _SIGN_AND_FRACTION | exponent
    (folder / "config.json").write_text(config.to_json())
    (folder / "tokenizer.json").write_text(byte_tokenizer())
    generation = GenerationConfig(stop_token=0, max_new_tokens=1)
    (folder / "generation_config.json").write_text(generation.to_json())
    return folder
