"""What cannot be imported says everything that is missing, and nothing half is left behind."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch (the train extra)")

from click.testing import CliRunner
from originals import Directory, write_directory
from safetensors.torch import load_file, save_file

from mmoe_embed.cli import group
from mmoe_embed.errors import ToolkitError, UsageError
from mmoe_embed.huggingface import export_checkpoint, import_checkpoint

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def mixtral(tmp_path_factory: pytest.TempPathFactory) -> Directory:
    return write_directory(tmp_path_factory.mktemp("mixtral") / "theirs", "mixtral")


def edit(original: Directory, folder: Path, tensors: dict[str, Any] | None = None, **keys: Any) -> Path:
    """A copy with other keys in config.json, and other tensors."""
    shutil.copytree(original.folder, folder)
    config = json.loads((folder / "config.json").read_text()) | keys
    (folder / "config.json").write_text(json.dumps({k: v for k, v in config.items() if v != "absent"}))
    if tensors:
        found = load_file(folder / "model.safetensors") | tensors
        save_file({name: t for name, t in found.items() if t is not None}, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize(
    ("keys", "tensors", "missing"),
    [
        ({"hidden_act": "gelu"}, {}, ["an activation other than SiLU (hidden_act is 'gelu', supported is 'silu')"]),
        ({"sliding_window": 16}, {}, ["attention within a window of 16 positions (--context 16 does without)"]),
        (
            {"rope_parameters": {"rope_type": "yarn", "factor": 4.0}, "attention_sinks": 4},
            {},
            [
                "rotary scaling of type 'yarn' (default, linear, llama3 are supported)",
                "key attention_sinks, which is 4 (--ignore attention_sinks where it does not matter)",
            ],
        ),
        ({"num_local_experts": "absent"}, {}, ["key num_experts, a whole number"]),
        ({"intermediate_size": 9000}, {}, ["moe_intermediate_size must be 0..8192, is 9000"]),
        (
            {},
            {"model.layers.1.self_attn.sinks": torch.zeros(4), "model.norm.weight": None},
            ["tensor model.norm.weight", "a use for tensor model.layers.1.self_attn.sinks"],
        ),
        (
            {"intermediate_size": 40, "num_local_experts": 4},
            {},
            [
                "tensor model.layers.N.block_sparse_moe.experts.N.wN.weight (36 of them) in the shape that config.json",
                "tensor model.layers.N.block_sparse_moe.gate.weight (3 of them) in the shape that config.json asks for",
                "a use for tensor model.layers.N.block_sparse_moe.experts.N.wN.weight (9 of them)",
            ],
        ),
        (
            {},
            {"model.norm.weight": torch.ones(32, dtype=torch.int64)},
            ["tensor model.norm.weight in one of the types F32, F16, BF16"],
        ),
    ],
)
def test_everything_that_is_missing_is_listed(
    mixtral: Directory, tmp_path: Path, keys: dict[str, Any], tensors: dict[str, Any], missing: list[str]
) -> None:
    folder = edit(mixtral, tmp_path / "theirs", tensors, **keys)
    with pytest.raises(ToolkitError, match="this mixtral model cannot be imported") as failure:
        import_checkpoint(folder, tmp_path / "ours")
    for line in missing:
        assert f"\n  - {line}" in failure.value.message
    assert not (tmp_path / "ours").exists()


def test_an_unknown_family_gets_the_features_it_needs(mixtral: Directory, tmp_path: Path) -> None:
    latent = {"model.layers.0.self_attn.kv_a_proj_with_mqa.weight": torch.zeros(8, 32)}
    folder = edit(mixtral, tmp_path / "theirs", latent, model_type="deepseek_v3", kv_lora_rank=8, n_group=8)
    with pytest.raises(ToolkitError) as failure:
        import_checkpoint(folder, tmp_path / "ours")
    for line in (
        "model_type 'deepseek_v3' (mobilemoe, olmoe,",
        "multi-head latent attention (key kv_lora_rank)",
        "routing limited to groups of experts (key n_group)",
        "a use for tensor model.layers.0.self_attn.kv_a_proj_with_mqa.weight",
    ):
        assert f"  - {line}" in failure.value.message


def test_a_key_that_does_not_matter_can_be_ignored(mixtral: Directory, tmp_path: Path) -> None:
    folder = edit(mixtral, tmp_path / "theirs", colour="red")
    with pytest.raises(ToolkitError, match="key colour, which is 'red'"):
        import_checkpoint(folder, tmp_path / "ours")
    imported = import_checkpoint(folder, tmp_path / "ours", ignore=["colour"], context=20)
    assert imported.config.max_position_embeddings == 20
    assert "context 20 of the model's 64 positions" in imported.notes


@pytest.mark.parametrize("missing", ["tokenizer.json", "config.json", "model.safetensors"])
def test_a_missing_file_is_named(mixtral: Directory, tmp_path: Path, missing: str) -> None:
    folder = edit(mixtral, tmp_path / "theirs")
    (folder / missing).unlink()
    with pytest.raises(ToolkitError, match=f"no .*{missing}"):
        import_checkpoint(folder, tmp_path / "ours")


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    original = write_directory(tmp_path / "theirs", "mixtral", max_shard_size="30KB")
    shard = sorted(original.folder.glob("*.safetensors"))[1]
    shard.unlink()
    with pytest.raises(ToolkitError, match=f"shard {shard.name} is missing"):
        import_checkpoint(original.folder, tmp_path / "ours")


def test_an_interrupted_import_is_no_checkpoint_and_starts_over(mixtral: Directory, tmp_path: Path) -> None:
    count = 0

    def interrupt() -> None:
        nonlocal count
        count += 1
        if count == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_checkpoint(mixtral.folder, tmp_path / "ours", on_tensor=interrupt)
    assert [file.name for file in (tmp_path / "ours").iterdir()] == [".unfinished"]
    import_checkpoint(mixtral.folder, tmp_path / "ours")
    with pytest.raises(UsageError, match="holds a checkpoint"):
        import_checkpoint(mixtral.folder, tmp_path / "ours")


def test_a_folder_with_something_else_is_left_alone(mixtral: Directory, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_text("mine")
    with pytest.raises(UsageError, match="holds files that no import left"):
        import_checkpoint(mixtral.folder, tmp_path)
    assert (tmp_path / "model.safetensors").read_text() == "mine"


def test_weights_that_changed_go_back_rounded(tmp_path: Path) -> None:
    original = write_directory(tmp_path / "theirs", "mobilemoe", int4=True)
    import_checkpoint(original.folder, tmp_path / "ours")
    file = tmp_path / "ours" / "model.safetensors"
    tensors = load_file(file)
    name = "layers.0.moe.experts.down_proj"
    tensors[name] = tensors[name] + 1e-4
    tensors["layers.0.attn_norm.weight"] = tensors["layers.0.attn_norm.weight"].float() + 1.0
    save_file(tensors, file)
    export_checkpoint(tmp_path / "ours", tmp_path / "back")
    before, after = (load_file(folder / "model.safetensors") for folder in (original.folder, tmp_path / "back"))
    at = "model.layers.0."
    assert torch.equal(before[at + "feed_forward.experts.down_qweight"], after[at + "feed_forward.experts.down_qweight"])
    moved = before[at + "input_layernorm.weight"].float() + 1.0
    assert torch.equal(after[at + "input_layernorm.weight"], moved.to(torch.bfloat16))


def test_a_checkpoint_that_was_trained_here_has_no_layout_to_go_back_to(mixtral: Directory, tmp_path: Path) -> None:
    import_checkpoint(mixtral.folder, tmp_path / "ours")
    shutil.rmtree(tmp_path / "ours" / "source")
    with pytest.raises(ToolkitError, match="was not imported"):
        export_checkpoint(tmp_path / "ours", tmp_path / "back")


def test_the_verbs(tmp_path: Path) -> None:
    original = write_directory(tmp_path / "theirs", "mobilemoe", int4=True)
    ours, back = str(tmp_path / "ours"), str(tmp_path / "back")
    result = CliRunner().invoke(group, ["import", str(original.folder), "-o", ours, "--json"])
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)["data"]
    assert data["family"] == "mobilemoe"
    assert data["packed_tensors"] == 2 * 9 + 1
    errors = data["requantization_error"]
    assert 0.03 < errors["int4"]["experts.gate_up"] < 0.2
    assert errors["int8"]["experts.gate_up"] < 0.02
    result = CliRunner().invoke(group, ["export-checkpoint", ours, "-o", back])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "back" / "model.safetensors").stat().st_size > 0


def test_requantization_is_measured_and_said(tmp_path: Path) -> None:
    original = write_directory(tmp_path / "theirs", "mobilemoe", int4=True)
    result = CliRunner().invoke(group, ["import", str(original.folder), "-o", str(tmp_path / "ours")])
    print(result.stdout)
    assert "as int4 their relative error is" in result.stdout
    assert "% in experts.down" in result.stdout
