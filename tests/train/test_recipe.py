"""Recipes: every wrong key is named with its path."""

from pathlib import Path

import pytest

from mmoe_embed.errors import ToolkitError
from mmoe_embed.train.recipe import load_recipe


@pytest.mark.parametrize(
    ("old", "new", "at"),
    [
        ("seed = 3", "sead = 3", "sead"),
        ("steps = 6", 'steps = "six"', "stage[0].steps"),
        ("steps = 5", "steps = 0", "stage[1].steps"),
        ("learning_rate = 1e-3", "learning_rate = -1.0", "stage[1].learning_rate"),
        ('scheme = "int4"', 'scheme = "int3"', "stage[1].scheme"),
        ("batch = 8\nlearning_rate = 1e-3", "bach = 8\nlearning_rate = 1e-3", "stage[1].bach"),
        ('train = "train.jsonl"\n', "", "data"),
        ("hidden_size = 32", "hiden_size = 32", "[model]"),
        ("num_key_value_heads = 1", "num_key_value_heads = 3", "[model]"),
        ("[model]", "[model]\nvocab_size = 300", "model.vocab_size"),
        ("vocab_size = 280", "vocab_size = 100", "tokenizer.vocab_size"),
        ('name = "quantization-aware"', 'name = "pre-train"', "stage.name"),
    ],
)
def test_load_recipe_names_the_wrong_key(recipe: Path, old: str, new: str, at: str) -> None:
    text = recipe.read_text("utf-8")
    assert old in text
    recipe.write_text(text.replace(old, new, 1), "utf-8")
    with pytest.raises(ToolkitError) as caught:
        load_recipe(recipe)
    assert at in caught.value.at
    assert str(recipe) in caught.value.at


def test_load_recipe_refuses_what_is_not_toml(tmp_path: Path) -> None:
    with pytest.raises(ToolkitError, match="no recipe"):
        load_recipe(tmp_path / "absent.toml")
    (tmp_path / "bad.toml").write_text("seed = = 1", "utf-8")
    with pytest.raises(ToolkitError, match="not valid TOML"):
        load_recipe(tmp_path / "bad.toml")


def test_dense_twin_needs_no_expert_keys(recipe: Path) -> None:
    text = recipe.read_text("utf-8").replace("num_experts = 4", "num_experts = 0")
    text = text.replace("num_experts_per_tok = 2\nmoe_intermediate_size = 16\n", "")
    recipe.write_text(text, "utf-8")
    assert load_recipe(recipe).model_config().num_experts == 0
