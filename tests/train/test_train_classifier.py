"""A classifier of signals is trained by the same loop as a language model."""

from pathlib import Path

import numpy as np
import pytest
from random_model import CLASSIFIER, small_config, write_signals

pytest.importorskip("torch", reason="needs PyTorch (the train extra)")

from mmoe_embed.checkpoint import load_checkpoint
from mmoe_embed.errors import ToolkitError
from mmoe_embed.golden import Golden
from mmoe_embed.quantize import quantize_checkpoint
from mmoe_embed.signals import cut_windows, read_signals
from mmoe_embed.train.loop import train_recipe
from mmoe_embed.train.recipe import load_recipe

pytestmark = pytest.mark.torch

RECIPE = """
seed = 3
threads = 1
[data]
train = "train.safetensors"
evaluate = "heldout.safetensors"
[model]
task = "classify"
class_names = ["one", "two", "three", "four", "five"]
input_channels = 3
input_frames = 8
input_stride = 4
hidden_size = 32
num_hidden_layers = 1
num_attention_heads = 2
num_key_value_heads = 1
head_dim = 8
num_experts = 4
num_experts_per_tok = 2
moe_intermediate_size = 16
shared_expert_intermediate_size = 16
max_position_embeddings = 12
[[stage]]
name = "pre-train"
steps = 60
batch = 32
learning_rate = 8e-3
warmup = 5
[[stage]]
name = "quantization-aware"
scheme = "int4"
steps = 20
batch = 32
learning_rate = 2e-3
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    config = small_config(**CLASSIFIER)
    write_signals(tmp_path / "train.safetensors", config, 200)
    write_signals(tmp_path / "heldout.safetensors", config, 50, seed=1)
    file = tmp_path / "recipe.toml"
    file.write_text(RECIPE, "utf-8")
    return file


def test_training_finds_the_classes_and_the_integers_keep_them(recipe: Path, tmp_path: Path) -> None:
    result = train_recipe(recipe, tmp_path / "run")
    assert result.exact_match["quantization-aware"] > 0.9
    checkpoint = load_checkpoint(result.checkpoint)
    assert sorted(file.name for file in result.checkpoint.iterdir()) == ["config.json", "model.safetensors"]
    train = read_signals(recipe.parent / "train.safetensors", checkpoint.config)
    np.testing.assert_allclose(checkpoint.tensors["input.mean"], train.values.mean((0, 1)), rtol=1e-5)
    np.testing.assert_allclose(checkpoint.tensors["input.gain"], 1 / train.values.std((0, 1)), rtol=1e-5)

    golden = Golden(quantize_checkpoint(checkpoint, "int4"))
    heldout = read_signals(recipe.parent / "heldout.safetensors", checkpoint.config)
    right = 0
    for signal, label in zip(heldout.values, heldout.labels, strict=True):
        golden.reset()
        right += int(np.argmax(golden.classify(cut_windows(signal, golden.config)))) == label
    assert abs(right / len(heldout) - result.exact_match["quantization-aware"]) <= 0.04


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[model]", "[tokenizer]\nvocab_size = 300\n[model]", "has no tokenizer"),
        ('task = "classify"\n', "", "needs a tokenizer"),
        ('"four", "five"]', '"four", 5]', "class_names"),
        ("input_stride = 4", "input_stride = 0", "input_stride"),
        ("input_frames = 8", "input_frames = 99", "input_frames"),
        ('[data]\ntrain = "train.safetensors"\nevaluate = "heldout.safetensors"\n', "", "signals of"),
    ],
)
def test_recipe_names_what_a_classifier_cannot_have(recipe: Path, old: str, new: str, message: str) -> None:
    assert old in RECIPE
    recipe.write_text(RECIPE.replace(old, new), "utf-8")
    with pytest.raises(ToolkitError, match=message):
        load_recipe(recipe)


def test_data_of_other_classes_is_refused(recipe: Path, tmp_path: Path) -> None:
    recipe.write_text(RECIPE.replace('"one"', '"zero"'), "utf-8")
    with pytest.raises(ToolkitError, match="its classes are"):
        train_recipe(recipe, tmp_path / "run")
