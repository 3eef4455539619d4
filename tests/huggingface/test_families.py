"""Imported models compute what the originals do, and go back as they came."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch (the train extra)")

from originals import FAMILIES, VOCABULARY, Directory, write_directory

from mmoe_embed.checkpoint import load_checkpoint
from mmoe_embed.huggingface import export_checkpoint, import_checkpoint
from mmoe_embed.model import MoeModel

pytestmark = pytest.mark.torch
TOKENS = np.random.default_rng(0).integers(3, VOCABULARY, 40).tolist()


def our_logits(checkpoint: Path) -> np.ndarray:
    """Of the float model in PyTorch."""
    loaded = load_checkpoint(checkpoint)
    model = MoeModel(loaded.config)
    model.load_numpy(loaded.tensors)
    with torch.no_grad():
        return np.asarray(model(torch.tensor([TOKENS]))[0][0].numpy())


def assert_same_directory(a: Path, b: Path) -> None:
    """Every file, byte for byte."""
    assert sorted(file.name for file in a.iterdir()) == sorted(file.name for file in b.iterdir())
    for file in a.iterdir():
        assert (b / file.name).read_bytes() == file.read_bytes(), file.name


def check_family(original: Directory, tmp_path: Path) -> None:
    import_checkpoint(original.folder, tmp_path / "ours")
    expected, found = original.logits(TOKENS), our_logits(tmp_path / "ours")
    assert np.abs(expected).max() > 1
    assert np.abs(found - expected).max() < 1e-4
    export_checkpoint(tmp_path / "ours", tmp_path / "back")
    assert_same_directory(original.folder, tmp_path / "back")


@pytest.mark.parametrize("family", FAMILIES)
def test_family_gives_the_logits_of_transformers_and_goes_back(tmp_path: Path, family: str) -> None:
    check_family(write_directory(tmp_path / "theirs", family), tmp_path)


def test_bfloat16_in_shards(tmp_path: Path) -> None:
    original = write_directory(tmp_path / "theirs", "qwen3_moe", dtype=torch.bfloat16, max_shard_size="30KB")
    assert len(list(original.folder.glob("*.safetensors"))) > 2
    check_family(original, tmp_path)


def test_mobilemoe_in_int4(tmp_path: Path) -> None:
    check_family(write_directory(tmp_path / "theirs", "mobilemoe", int4=True), tmp_path)
