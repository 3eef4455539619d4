"""Random checkpoints of any shape, written to disk as a user's would be."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from mmoe_embed.checkpoint import tensor_shapes
from mmoe_embed.config import GenerationConfig, ModelConfig

_TEXT = [
    "wake me at ten past six",
    "call mum now please",
    "how far did i run this week",
    "set a timer for nine minutes",
]


# What families other than MobileMoE have, in two models that between them have all of it
OTHER_FAMILIES: dict[str, dict[str, object]] = {
    "softmax, weighted norms of heads": {
        "model_type": "qwen3_moe",
        "router_score": "softmax",
        "qk_norm": False,
        "pre_rotary_norm": "head",
        "tie_word_embeddings": False,
        "shared_expert_intermediate_size": 0,
    },
    "scores as they are, norms over all heads, biases, a gated shared expert": {
        "model_type": "olmoe",
        "router_score": "softmax",
        "norm_topk_prob": False,
        "routed_scaling_factor": 1.0,
        "qk_norm": False,
        "pre_rotary_norm": "width",
        "attention_bias": True,
        "shared_expert_gate": True,
        "rotary_frequencies": [1.0, 0.5, 0.25, 0.2, 0.1, 0.05, 0.01, 0.0],
        "dense_layers": [0],
        "dense_intermediate_size": 96,
    },
}

CLASSIFIER: dict[str, object] = {
    "task": "classify",
    "vocab_size": 5,
    "class_names": ["one", "two", "three", "four", "five"],
    "input_channels": 3,
    "input_frames": 8,
    "input_stride": 4,
    "tie_word_embeddings": False,
    "max_position_embeddings": 12,
}


def small_config(**changes: object) -> ModelConfig:
    """A tiny model that has every part; keyword arguments change single sizes."""
    sizes: dict[str, object] = {
        "vocab_size": 300,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "num_experts": 6,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 32,
        "shared_expert_intermediate_size": 64,
        "max_position_embeddings": 48,
    }
    return ModelConfig(**(sizes | changes))  # type: ignore[arg-type]


def write_signals(file: Path, config: ModelConfig, count: int = 6, frames: int = 40, seed: int = 0) -> Path:
    """Write recordings that a classifier can read; each channel's frequency is its class's."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % config.vocab_size
    t, phase = np.arange(frames)[:, None], random.uniform(0, 6, (count, 1, config.input_channels))
    clean = 2 + np.sin(0.2 * (1 + labels[:, None, None]) * t + phase)
    signals = clean + 0.1 * random.standard_normal((count, frames, config.input_channels))
    described = json.dumps({"classes": config.class_names})
    save_file({"signals": signals.astype(np.float32), "labels": labels}, file, metadata={"mmoe-embed": described})
    return file


def train_tokenizer(vocab_size: int = 300) -> Tokenizer:
    """A byte-level BPE of the supported kind, over a few sentences."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(" ", "merged_with_next"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        _TEXT * 3,
        trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=["<bos>", "<sep>", "<eos>"],
            show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ),
    )
    return tokenizer


def write_checkpoint(folder: Path, config: ModelConfig, seed: int = 0, gain: float = 1.0) -> Path:
    """Write a checkpoint with random weights; returns the folder."""
    random = np.random.default_rng(seed)
    tensors = {}
    for name, shape in tensor_shapes(config).items():
        values = random.standard_normal(shape) * gain / np.sqrt(shape[-1])
        if "norm" in name:
            values = 1 + 0.1 * random.standard_normal(shape)
        elif name.endswith(("router.bias", "input.proj.bias")):
            values = 0.1 * random.standard_normal(shape)
        elif name == "input.gain":
            values = 0.5 + random.random(shape)
        tensors[name] = values.astype(np.float32)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(config.to_json())
    if config.is_classifier:
        return folder
    (folder / "tokenizer.json").write_text(train_tokenizer(config.vocab_size).to_str())
    generation = GenerationConfig(prefix_tokens=[0], suffix_tokens=[1], stop_token=2, max_new_tokens=8)
    (folder / "generation_config.json").write_text(generation.to_json())
    return folder
