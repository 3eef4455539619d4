"""The C++ runner, built against the wheel's SDK: the tokens and the bits of the golden."""

import numpy as np
import pytest
from programs import plan_program
from random_model import small_config, write_checkpoint
from runs import CHECK_PROMPT, check_golden, check_logits, run

from mmoe_embed.checkpoint import load_checkpoint
from mmoe_embed.executorch.export import export_program
from mmoe_embed.executorch.library import build_runner
from mmoe_embed.executorch.session import Session
from mmoe_embed.golden import Golden
from mmoe_embed.quantize import quantize_checkpoint

pytestmark = [
    pytest.mark.executorch,
    pytest.mark.gcc,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    checkpoint = write_checkpoint(tmp_path_factory.mktemp("model") / "checkpoint", small_config(), seed=7)
    return quantize_checkpoint(load_checkpoint(checkpoint), "int4")


@pytest.fixture(scope="module")
def program(model, tmp_path_factory):
    file = tmp_path_factory.mktemp("program") / "model.pte"
    export_program(model, file, plan_program(model, chunk=4))
    return file


@pytest.fixture(scope="module")
def runner(tmp_path_factory):
    return build_runner(tmp_path_factory.mktemp("runner"))


@pytest.mark.parametrize("loading", [[], ["--mmap"]])
def test_runner_prints_the_goldens_bits(model, program, runner, loading):
    done = run(runner, program, *loading, "--logits", "--count", 6, *CHECK_PROMPT)
    assert done.returncode == 0, done.stderr
    check_golden(model, done.stdout, 6)


def test_runner_has_xnnpack_for_the_dense_part(runner, operators, tmp_path):
    checkpoint = write_checkpoint(tmp_path / "checkpoint", small_config(hidden_size=64), seed=7)
    model, file = quantize_checkpoint(load_checkpoint(checkpoint), "int4"), tmp_path / "model.pte"
    export_program(model, file, plan_program(model, 4, slots=3), xnnpack=True)
    done = run(runner, file, "--logits", "--count", 3, *CHECK_PROMPT)
    assert done.returncode == 0, done.stderr
    session, expected = Session(file, operators), Golden(model).prefill(CHECK_PROMPT)
    assert 0 < np.abs(session.prefill(CHECK_PROMPT) - expected).max() < 0.2 * np.abs(expected).max()
    session.reset()
    check_logits(session, done.stdout, 3)


def test_runner_names_what_is_wrong(program, runner, tmp_path):
    assert run(runner).returncode == 2
    assert "usage: mmoe_runner" in run(runner, program, "--count", "0", "5").stderr
    assert "is no program of mmoe-embed that takes tokens" in run(runner, tmp_path / "absent.pte", 5).stderr
    full = run(runner, program, "--count", 60, *CHECK_PROMPT)
    assert full.returncode == 1
    assert "the context of 48 tokens is full" in full.stderr
    assert len(full.stdout.splitlines()) == 48 - len(CHECK_PROMPT) + 1
    wrong = run(runner, program, 300).stderr
    assert "position 0: a token is not in the vocabulary" in wrong
    assert "mmoe_status -3" in wrong  # MMOE_E_TOKEN
