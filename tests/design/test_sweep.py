"""A grid of small runs: all of them, once, also after an interruption and under torchrun."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs PyTorch (the train extra)")

from mmoe_embed.design.grid import read_grid
from mmoe_embed.design.runs import read_runs
from mmoe_embed.design.sweep import run_sweep
from mmoe_embed.errors import ToolkitError
from mmoe_embed.train.recipe import load_recipe

pytestmark = pytest.mark.torch
GRID = """
threads = 1
[[source]]
name = "text"
path = ["text.jsonl"]
held_out = 0.3
[tokenizer]
vocab_size = 280
[model]
head_dim = 8
qk_norm = false
max_position_embeddings = 32
[[stage]]
name = "pre-train"
tokens = 256
batch = 4
learning_rate = 1e-2
mix = { text = 1.0 }
[[grid]]
size = [{ hidden_size = 16, num_hidden_layers = 1, num_attention_heads = 2, num_key_value_heads = 1 }]
experts = [1, 4]
granularity = [1, 2]
shared = [false, true]
tokens = [256]
[[grid]]
size = [{ hidden_size = 16, num_hidden_layers = 1, num_attention_heads = 2, num_key_value_heads = 1 }]
experts = [1]
tokens = [256, 512]
"""


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    lines = [json.dumps({"text": f"line {n} of a text that is {n % 7} long\n" * 8}) for n in range(60)]
    (tmp_path / "text.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    file = tmp_path / "grid.toml"
    file.write_text(GRID, "utf-8")
    return file


def test_grid_lists_every_run_that_can_be_once(grid: Path, tmp_path: Path) -> None:
    """A dense model has no granularity, and one expert of a token cannot be halved."""
    jobs = read_grid(grid)
    assert [job.name.removeprefix("d16-l1-") for job in jobs] == [
        "dense-t256-s1", "e4-g1-t256-s1", "e4-g2-t256-s1", "e4-g2-shared-t256-s1", "dense-t512-s1",
    ]  # fmt: skip
    for job in jobs:
        file = tmp_path / "recipe.toml"
        file.write_text(job.recipe, "utf-8")
        config = load_recipe(file).model_config()
        assert config.num_experts == {"e4-g1": 4, "e4-g2": 8, "dense": 0}.get(job.name.split("-t")[0][7:], 7)


def test_grid_gives_its_sizes_a_learning_rate(grid: Path, tmp_path: Path) -> None:
    grid.write_text(grid.read_text("utf-8").replace("tokens = [256, 512]", "tokens = [512]\nlearning_rate = 2e-2"))
    rates = {}
    for job in read_grid(grid):
        file = tmp_path / "recipe.toml"
        file.write_text(job.recipe, "utf-8")
        rates[job.name.split("-l1-")[1]] = load_recipe(file).stage[0].learning_rate
    assert (rates["dense-t256-s1"], rates["dense-t512-s1"]) == (1e-2, 2e-2)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("experts = [1, 4]", "expert = [1, 4]", "unknown field `expert`"),
        ("experts = [1, 4]", "experts = [0]", "not a grid of runs"),
        ("learning_rate = 1e-2", "learning_rat = 1e-2", "unknown field 'learning_rat'"),
        ("head_dim = 8", "head_dim = 7", "head_dim must be even"),
        ("tokens = [256, 512]", "tokens = [256]\nlearning_rate = 2e-2", "two different runs are both d16-l1-dense"),
        ("[[grid]]", "[[gird]]", "a recipe's tables and"),
    ],
)
def test_grid_that_is_wrong_is_refused(grid: Path, old: str, new: str, message: str) -> None:
    grid.write_text(grid.read_text("utf-8").replace(old, new), "utf-8")
    with pytest.raises(ToolkitError, match=message):
        read_grid(grid)


def test_sweep_trains_every_run_and_goes_on_where_it_was(grid: Path, tmp_path: Path) -> None:
    """One run cannot be trained at first: it is named, and the others are trained; then only it is left to do."""
    output, done = tmp_path / "out", []
    other = output / "d16-l1-dense-t512-s1" / "not_a_run"
    other.parent.mkdir(parents=True)
    other.touch()
    result = run_sweep(grid, output, parallel=1, on_done=lambda *found: done.append(found))
    assert (result.finished, result.jobs, list(result.failed)) == (4, 5, [other.parent.name])
    assert "no run to resume" in result.failed[other.parent.name]
    assert done == [(n, 5) for n in range(1, 6)]
    finished = {file: file.stat().st_mtime_ns for file in output.glob("*.json")}
    other.unlink()
    other.parent.rmdir()
    result = run_sweep(grid, output, parallel=1)
    assert (result.finished, result.failed) == (5, {})
    assert {file: file.stat().st_mtime_ns for file in finished} == finished
    with result.csv.open() as stream:
        rows = {row["name"]: row for row in csv.DictReader(stream)}
    assert {int(row["tokens"]) for row in rows.values()} == {256, 512}
    assert rows["d16-l1-e4-g2-shared-t256-s1"]["shared"] == "1"
    assert read_runs(result.csv) == read_runs(output)


@pytest.mark.slow
def test_torchrun_shares_the_runs_out(grid: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "mmoe_embed"]
    command += ["design", "sweep", str(grid), "-o", str(tmp_path / "out"), "--parallel", "1", "--json"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(read_runs(tmp_path / "out" / "runs.csv")) == 5
