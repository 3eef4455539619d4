"""A small run: a tiny recipe and a tiny copying task."""

import json
import random
from pathlib import Path

import pytest

RECIPE = """
seed = 3
threads = 1
log_every = 2
save_every = 4
[data]
train = "train.jsonl"
evaluate = "heldout.jsonl"
make = "python make.py"
[tokenizer]
vocab_size = 280
[model]
hidden_size = 32
num_hidden_layers = 2
num_attention_heads = 2
num_key_value_heads = 1
head_dim = 8
num_experts = 4
num_experts_per_tok = 2
moe_intermediate_size = 16
shared_expert_intermediate_size = 32
max_position_embeddings = 48
[[stage]]
name = "pre-train"
steps = 6
batch = 8
learning_rate = 3e-3
warmup = 2
prompt_weight = 0.1
[[stage]]
name = "quantization-aware"
scheme = "int4"
steps = 5
batch = 8
learning_rate = 1e-3
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe file with its data beside it."""
    rng = random.Random(0)
    lines = []
    for _ in range(80):
        word = rng.choice(["red", "green", "blue"])
        lines.append(json.dumps({"prompt": f"say {word} {rng.randrange(9)}", "completion": f"say({word})"}))
    (tmp_path / "train.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    (tmp_path / "heldout.jsonl").write_text("\n".join(lines[:10]) + "\n", "utf-8")
    file = tmp_path / "recipe.toml"
    file.write_text(RECIPE, "utf-8")
    return file
