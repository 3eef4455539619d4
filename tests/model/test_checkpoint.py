"""Bad checkpoints: each fault gets an error that names the file and the tensor or key."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from random_model import small_config, write_checkpoint
from safetensors.numpy import load_file, save_file

from mmoe_embed.checkpoint import load_checkpoint
from mmoe_embed.errors import ToolkitError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "model", small_config())


def _edit(folder: Path, **changes: np.ndarray | None) -> None:
    tensors = load_file(folder / "model.safetensors")
    for name, value in changes.items():
        if value is None:
            del tensors[name]
        else:
            tensors[name] = value
    save_file(tensors, folder / "model.safetensors")


def _configure(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def test_load_checkpoint_reads_what_was_written(folder: Path) -> None:
    checkpoint = load_checkpoint(folder)
    assert checkpoint.config == small_config()
    assert checkpoint.tensors["embed_tokens.weight"].shape == (300, 32)


def test_load_checkpoint_finds_the_checkpoint_inside_an_example(folder: Path) -> None:
    folder.rename(folder.parent / "checkpoint")
    assert load_checkpoint(folder.parent).config == small_config()


def test_load_checkpoint_reads_bfloat16(folder: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch (the train extra)")
    from safetensors.torch import load_file as load_torch  # noqa: PLC0415
    from safetensors.torch import save_file as save_torch  # noqa: PLC0415

    tensors = {name: tensor.to(torch.bfloat16) for name, tensor in load_torch(folder / "model.safetensors").items()}
    save_torch(tensors, folder / "model.safetensors")
    loaded = load_checkpoint(folder).tensors
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(loaded[name], tensor.float().numpy())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"norm.weight": None}, "tensor norm.weight is missing"),
        ({"stranger": np.zeros(3, np.float32)}, "unexpected tensor stranger"),
        (
            {"norm.weight": np.ones(31, np.float32)},
            r"tensor norm.weight has shape \(31,\), config.json asks for \(32,\)",
        ),
        ({"norm.weight": np.full(32, np.nan, np.float32)}, "tensor norm.weight holds nan at"),
        ({"layers.1.moe.router.bias": np.full(6, np.inf, np.float32)}, "layers.1.moe.router.bias holds inf"),
        ({"norm.weight": np.ones(32, np.int32)}, "tensor norm.weight is I32; supported"),
    ],
)
def test_load_checkpoint_names_the_bad_tensor(folder: Path, change: dict[str, np.ndarray | None], message: str) -> None:
    _edit(folder, **change)
    with pytest.raises(ToolkitError, match=message) as failure:
        dict(load_checkpoint(folder).tensors)
    assert "model.safetensors" in failure.value.at


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vocab_size": 2_000_000}, r"vocab_size must be 2\.\.1048576, is 2000000"),
        ({"max_position_embeddings": 9000}, r"max_position_embeddings must be 1\.\.8192"),
        ({"num_key_value_heads": 3}, "num_key_value_heads"),
        ({"head_dim": 15}, "head_dim must be even"),
        ({"num_experts_per_tok": 7}, r"num_experts_per_tok must be 1\.\.num_experts = 6, is 7"),
        ({"num_experts": 0}, "num_experts_per_tok must be 0"),
        ({"hidden_sise": 32}, "unknown field `hidden_sise`"),
        ({"hidden_size": "32"}, "hidden_size"),
        ({"rms_norm_eps": 0}, r"rms_norm_eps must be 1e-30\.\.1000000000\.0, is 0"),
        ({"rms_norm_eps": 1e-50}, "rms_norm_eps must be"),  # 0 in float32
        ({"num_hidden_layers": 256}, r"num_hidden_layers must be 1\.\.255, is 256"),
        ({"num_hidden_layers": 200, "num_experts_per_tok": 3}, "layers x experts a token are 600, at most 515"),
        ({"num_attention_heads": 256}, r"num_attention_heads must be 1\.\.255"),
        ({"head_dim": 514}, r"head_dim must be 2\.\.512"),
        ({"num_attention_heads": 32, "head_dim": 258}, "heads x head_dim is 8256, at most 8192"),
    ],
)
def test_load_checkpoint_names_the_bad_config_key(folder: Path, change: dict[str, object], message: str) -> None:
    _configure(folder, **change)
    with pytest.raises(ToolkitError, match=message) as failure:
        load_checkpoint(folder)
    assert "config.json" in failure.value.at
    assert failure.value.try_


def test_load_checkpoint_refuses_a_pickle_by_name(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model.pt")
    with pytest.raises(ToolkitError, match=r"no file model\.safetensors") as failure:
        load_checkpoint(folder)
    assert "model.pt is a pickle" in failure.value.try_


def test_load_checkpoint_refuses_a_pickle_under_another_name(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(pickle.dumps({"a": 1}, protocol=4))
    with pytest.raises(ToolkitError, match="only safetensors is loaded"):
        load_checkpoint(folder)


def test_load_checkpoint_refuses_a_truncated_file(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ToolkitError, match="not a safetensors file, or a damaged one"):
        load_checkpoint(folder)


def test_load_checkpoint_names_the_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(ToolkitError, match="no such folder"):
        load_checkpoint(tmp_path / "nowhere")
