"""Tiny random models of every family, in the layout that transformers writes them in."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from random_model import train_tokenizer

transformers = pytest.importorskip("transformers", reason="needs transformers (the dev extra)")
torch = pytest.importorskip("torch", reason="needs PyTorch (the train extra)")

VOCABULARY = 300
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_experts_per_tok": 2,
    "max_position_embeddings": 64,
    "eos_token_id": 2,
}
QWEN = {"moe_intermediate_size": 24, "intermediate_size": 48, "num_experts": 5}
DEEPSEEK = {"moe_intermediate_size": 24, "intermediate_size": 56, "n_routed_experts": 5, "n_shared_experts": 2}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 100.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}

# model_type: settings of its transformers config; in each a few that are not the defaults
FAMILIES: dict[str, dict[str, Any]] = {
    "mixtral": {"intermediate_size": 48, "num_local_experts": 5},
    "olmoe": {"intermediate_size": 24, "num_experts": 5, "rope_parameters": LLAMA3},
    "qwen3_moe": {**QWEN, "head_dim": 16, "norm_topk_prob": True, "mlp_only_layers": [1]},
    "qwen2_moe": {**QWEN, "shared_expert_intermediate_size": 40, "tie_word_embeddings": True},
    "dots1": {**DEEPSEEK, "first_k_dense_replace": 1, "norm_topk_prob": True, "routed_scaling_factor": 1.7},
    "deepseek": {**DEEPSEEK, "first_k_dense_replace": 1},
    "mobilemoe": {},
}


@dataclasses.dataclass(frozen=True)
class Directory:
    """A Hugging Face directory, and logits of the model it was made from."""

    folder: Path
    logits: Callable[[list[int]], Any]  # float32 (tokens, vocabulary)


def finish_directory(folder: Path) -> None:
    """The files beside config.json and the weights."""
    (folder / "tokenizer.json").write_text(train_tokenizer(VOCABULARY).to_str())
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, 1], "temperature": 0.6}))
    (folder / "README.md").write_text("a model card")


def randomize(model: Any, seed: int = 3) -> None:
    """Weights that make every part matter; norms and biases too, which start at 1 and 0."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            if "inv_freq" in name:
                continue
            noise = torch.randn(tensor.shape, generator=random)
            if "norm" in name:
                tensor.copy_(1 + 0.3 * noise)
            elif tensor.ndim == 1:
                tensor.copy_(0.2 * noise)
            else:
                tensor.copy_(noise * 1.5 / tensor.shape[-1] ** 0.5)


def write_directory(folder: Path, family: str, **changes: Any) -> Directory:
    """A tiny model of a family, written as transformers writes it."""
    if family == "mobilemoe":
        from original_mobilemoe import write_mobilemoe

        return write_mobilemoe(folder, **changes)
    if family == "deepseek":
        from original_deepseek import write_deepseek

        return write_deepseek(folder, **{**SIZES, **FAMILIES[family], **changes})
    shards = changes.pop("max_shard_size", "5GB")
    dtype = changes.pop("dtype", torch.float32)
    config = transformers.AutoConfig.for_model(family, **{**SIZES, **FAMILIES[family], **changes})
    model = transformers.AutoModelForCausalLM.from_config(config)
    randomize(model)
    model.to(dtype).save_pretrained(folder, max_shard_size=shards)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    finish_directory(folder)
    return Directory(folder, lambda tokens: logits_of(model, tokens))


def logits_of(model: Any, tokens: list[int]) -> Any:
    """Of a transformers model."""
    with torch.no_grad():
        return model.eval()(torch.tensor([tokens])).logits[0].float().numpy()
