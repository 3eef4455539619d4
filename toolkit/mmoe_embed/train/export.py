"""Writing a checkpoint folder (SPEC.md 1)."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save
from tokenizers import Tokenizer
from torch import Tensor

from mmoe_embed.config import GenerationConfig, ModelConfig
from mmoe_embed.whole_file import write_whole


def write_checkpoint(
    folder: Path,
    config: ModelConfig,
    weights: Mapping[str, Tensor],
    tokenizer: Tokenizer | None,
    generation: GenerationConfig,
) -> None:
    """Write config, weights (a `MoeModel`'s state dict), and of a language model tokenizer and framing.

    Weights stay float32, so that quantizing gives the integers that training saw.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: t.detach().to(torch.float32).contiguous() for name, t in weights.items()}
    write_whole(folder / "model.safetensors", save(tensors))
    if tokenizer:
        write_whole(folder / "tokenizer.json", (tokenizer.to_str(pretty=False) + "\n").encode())
        write_whole(folder / "generation_config.json", generation.to_json().encode())
    write_whole(folder / "config.json", config.to_json().encode())
