"""Training runs: same bits every time, also when interrupted."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs PyTorch (the train extra)")

from mmoe_embed.checkpoint import load_checkpoint
from mmoe_embed.errors import ToolkitError
from mmoe_embed.train import loop
from mmoe_embed.train.loop import RunInterruptedError, train_recipe

pytestmark = pytest.mark.torch
FILES = ("config.json", "model.safetensors", "tokenizer.json", "generation_config.json")


def _bits(output: Path) -> dict[str, bytes]:
    return {f: (output / "checkpoint" / f).read_bytes() for f in FILES} | {
        "metrics": (output / "metrics.csv").read_bytes()
    }


def test_train_twice_gives_the_same_bits(recipe: Path, tmp_path: Path) -> None:
    result = train_recipe(recipe, tmp_path / "a")
    train_recipe(recipe, tmp_path / "b")
    assert _bits(tmp_path / "a") == _bits(tmp_path / "b")
    assert result.exact_match.keys() == {"pre-train", "quantization-aware"}
    checkpoint = load_checkpoint(tmp_path / "a")
    assert checkpoint.config.num_experts == 4
    assert any(checkpoint.tensors["layers.0.moe.router.bias"] != 0)


def test_train_with_another_seed_gives_other_weights(recipe: Path, tmp_path: Path) -> None:
    train_recipe(recipe, tmp_path / "a")
    recipe.write_text(recipe.read_text("utf-8").replace("seed = 3", "seed = 4"), "utf-8")
    train_recipe(recipe, tmp_path / "b")
    assert _bits(tmp_path / "a")["model.safetensors"] != _bits(tmp_path / "b")["model.safetensors"]


@pytest.mark.parametrize("stop_after", [1, 3, 6, 8, 11])
def test_resume_gives_the_bits_of_an_uninterrupted_run(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_after: int
) -> None:
    train_recipe(recipe, tmp_path / "whole")
    steps = 0
    take_step = loop._take_step

    def take_and_interrupt(*arguments: object) -> object:
        nonlocal steps
        steps += 1
        if steps == stop_after:
            os.kill(os.getpid(), signal.SIGINT)
        return take_step(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_take_step", take_and_interrupt)
        with pytest.raises(RunInterruptedError, match="nothing is lost"):
            train_recipe(recipe, tmp_path / "parts")
    train_recipe(recipe, tmp_path / "parts", resume=True)
    assert _bits(tmp_path / "whole") == _bits(tmp_path / "parts")


def test_resume_after_a_kill_gives_the_same_bits(recipe: Path, tmp_path: Path) -> None:
    """No signal handler runs: the last state saved is what counts."""
    output = tmp_path / "killed"
    text = recipe.read_text("utf-8").replace("steps = 6", "steps = 12").replace("save_every = 4", "save_every = 1")
    recipe.write_text(text, "utf-8")
    code = "import sys, pathlib, mmoe_embed.train.loop as l; l.train_recipe(*map(pathlib.Path, sys.argv[1:]))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    child = subprocess.Popen([sys.executable, "-c", code, str(recipe), str(output)], env=environment)
    deadline = time.monotonic() + 300
    while not (output / "state.pt").exists() and time.monotonic() < deadline and child.poll() is None:
        time.sleep(0.02)
    child.kill()
    child.wait()
    train_recipe(recipe, output, resume=True)
    train_recipe(recipe, tmp_path / "whole")
    assert _bits(output) == _bits(tmp_path / "whole")


def test_train_refuses_to_overwrite_a_run(recipe: Path, tmp_path: Path) -> None:
    train_recipe(recipe, tmp_path / "a")
    with pytest.raises(ToolkitError, match="holds a run already") as caught:
        train_recipe(recipe, tmp_path / "a")
    assert "--resume" in caught.value.try_
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.txt").write_text("precious", "utf-8")
    with pytest.raises(ToolkitError, match="not empty"):
        train_recipe(recipe, tmp_path / "b")


def test_resume_refuses_what_it_did_not_start(recipe: Path, tmp_path: Path) -> None:
    with pytest.raises(ToolkitError, match="no run to resume"):
        train_recipe(recipe, tmp_path / "nothing", resume=True)
    train_recipe(recipe, tmp_path / "a")
    text = recipe.read_text("utf-8")
    recipe.write_text(text.replace("seed = 3", "seed = 5"), "utf-8")
    with pytest.raises(ToolkitError, match="another recipe"):
        train_recipe(recipe, tmp_path / "a", resume=True)
    recipe.write_text(text, "utf-8")
    (tmp_path / "a" / "state.pt").write_bytes(b"PK\x03\x04 not a state")
    with pytest.raises(ToolkitError, match="damaged"):
        train_recipe(recipe, tmp_path / "a", resume=True)


def test_train_names_missing_and_bad_data(recipe: Path, tmp_path: Path) -> None:
    data = tmp_path / "train.jsonl"
    good = data.read_text("utf-8")
    data.unlink()
    with pytest.raises(ToolkitError, match=r"no data file train\.jsonl") as caught:
        train_recipe(recipe, tmp_path / "a")
    assert caught.value.try_ == "python make.py"
    data.write_text(good + '{"prompt": "x"}\n', "utf-8")
    with pytest.raises(ToolkitError, match="completion") as caught:
        train_recipe(recipe, tmp_path / "b")
    assert "line 81" in caught.value.at
    data.write_text(good + '{"prompt": "%s", "completion": "y"}\n' % ("0" * 60), "utf-8")
    with pytest.raises(ToolkitError, match="max_position_embeddings is 48") as caught:
        train_recipe(recipe, tmp_path / "c")
    assert "line 81" in caught.value.at


def test_train_refuses_an_output_it_cannot_write(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(ToolkitError, match="cannot be written"):
        train_recipe(recipe, tmp_path / "file" / "out")


def test_train_dense_twin(recipe: Path, tmp_path: Path) -> None:
    recipe.write_text(
        recipe.read_text("utf-8")
        .replace("num_experts = 4", "num_experts = 0")
        .replace("num_experts_per_tok = 2\nmoe_intermediate_size = 16\n", ""),
        "utf-8",
    )
    train_recipe(recipe, tmp_path / "a")
    assert not any("experts" in name for name in load_checkpoint(tmp_path / "a").tensors)


def test_run_killed_before_its_first_state_starts_again(recipe: Path, tmp_path: Path) -> None:
    train_recipe(recipe, tmp_path / "whole")
    killed = tmp_path / "killed"
    killed.mkdir()
    (killed / "metrics.csv").write_text("stage\n")
    (killed / "tokenizer.json").write_bytes((tmp_path / "whole" / "tokenizer.json").read_bytes())
    with pytest.raises(ToolkitError, match="holds a run already"):
        train_recipe(recipe, killed)
    train_recipe(recipe, killed, resume=True)
    assert _bits(killed) == _bits(tmp_path / "whole")
