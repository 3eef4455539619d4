"""Several processes train what one does."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs PyTorch (the train extra)")

from random_model import small_config

from mmoe_embed.checkpoint import load_checkpoint
from mmoe_embed.errors import ToolkitError
from mmoe_embed.model import MoeModel
from mmoe_embed.train.loop import train_recipe
from mmoe_embed.train.parallel import Ranks

pytestmark = pytest.mark.torch
KINDS = ["data", "expert", "sharded"]
KILLED = """
import os, pathlib, sys
import mmoe_embed.train.loop as loop
save = loop.save_state
def save_and_die(file, state):
    save(file, state)
    if state.step == 3:
        os._exit(9)
loop.save_state = save_and_die
loop.train_recipe(*map(pathlib.Path, sys.argv[1:]))
"""


def _torchrun(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command += map(str, arguments)
    return subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=300)


def _train(recipe: Path, output: Path, *more: str) -> None:
    done = _torchrun("-m", "mmoe_embed", "train", recipe, "-o", output, *more)
    assert done.returncode == 0, done.stderr[-3000:]


def _losses(output: Path) -> dict[str, list[float]]:
    result: dict[str, list[float]] = {}
    with (output / "metrics.csv").open() as stream:
        for row in csv.DictReader(stream):
            if row["loss"]:
                result.setdefault(row["stage"], []).append(float(row["loss"]))
    return result


@pytest.mark.parametrize("parallel", KINDS)
def test_two_processes_have_the_losses_of_one(recipe: Path, tmp_path: Path, parallel: str) -> None:
    recipe.write_text(f'parallel = "{parallel}"\n' + recipe.read_text("utf-8"), "utf-8")
    train_recipe(recipe, tmp_path / "one")
    _train(recipe, tmp_path / "two")
    one, two = _losses(tmp_path / "one"), _losses(tmp_path / "two")
    assert one["pre-train"] == pytest.approx(two["pre-train"], abs=1.5e-5)  # printed to 1e-5
    # rounding to integers jumps: a weight on an edge may fall to the other side
    assert one["quantization-aware"] == pytest.approx(two["quantization-aware"], abs=0.02)
    shapes = [{n: t.shape for n, t in load_checkpoint(tmp_path / p).tensors.items()} for p in ("one", "two")]
    assert shapes[0] == shapes[1]


@pytest.mark.slow
@pytest.mark.parametrize("parallel", KINDS)
def test_two_processes_resume_to_the_same_bits(recipe: Path, tmp_path: Path, parallel: str) -> None:
    text = f'parallel = "{parallel}"\n' + recipe.read_text("utf-8").replace("save_every = 4", "save_every = 3")
    recipe.write_text(text, "utf-8")
    _train(recipe, tmp_path / "whole")
    (tmp_path / "killed.py").write_text(KILLED)
    assert _torchrun(tmp_path / "killed.py", recipe, tmp_path / "parts").returncode
    assert (tmp_path / "parts" / "state.pt").is_file()
    _train(recipe, tmp_path / "parts", "--resume")
    whole, parts = ((tmp_path / p / "checkpoint" / "model.safetensors").read_bytes() for p in ("whole", "parts"))
    assert whole == parts


def test_experts_that_cannot_be_shared_out_are_refused() -> None:
    with pytest.raises(ToolkitError, match="3 experts cannot be shared out over 2 processes"):
        Ranks(0, 2, "expert").split(MoeModel(small_config(num_experts=3, num_experts_per_tok=1)))
