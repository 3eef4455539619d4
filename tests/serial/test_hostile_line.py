"""A line that drops, flips, doubles, cuts and delays bytes: right or a named error, never a wrong pass."""

from collections.abc import Callable

import numpy as np
import pytest
from fake_board import FakeBoard, FakeModel, HostileLine
from numpy.typing import NDArray

from mmoe_embed.errors import DeviceError, MismatchError
from mmoe_embed.serial.client import BoardClient
from mmoe_embed.validate import Report, draw_prompts, validate_board

PLAN = {"arena_bytes": 1000, "stack_bytes": 2048}
FAULTS = [
    {"drop": 0.004},
    {"flip": 0.004},
    {"double": 0.004},
    {"cut": 0.05},
    {"delay": 0.05},
    {"drop": 0.002, "flip": 0.002, "double": 0.002, "cut": 0.01, "delay": 0.01},
]

Connect = Callable[..., BoardClient]


def _validate(client: BoardClient, model: FakeModel, steps: int) -> Report:
    prompts = draw_prompts(vocab_size=model.vocab_size, context=model.context, steps=steps, seed=1, least=4)
    client.identify(patience_s=20)
    return validate_board(client, FakeModel(vocab_size=model.vocab_size), prompts, plan=PLAN)


def _name(faults: dict[str, float]) -> str:
    return "+".join(faults)


@pytest.mark.parametrize("seed", [1])
@pytest.mark.parametrize("faults", FAULTS, ids=_name)
def test_validate_good_board(board: FakeBoard, connect: Connect, faults: dict[str, float], seed: int) -> None:
    with HostileLine(board.port, faults, seed) as line:
        try:
            report = _validate(connect(line.url), board.model, steps=20)
        except (DeviceError, MismatchError) as error:
            pytest.fail(f"the line was bad, but not that bad: {error}")
    assert line.touched > 0
    assert report.ok, [check for check in report.checks if not check.ok]
    assert report.comparison.equal_logits == report.comparison.steps == 20


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("faults", FAULTS, ids=_name)
def test_validate_one_wrong_bit_is_never_passed(
    board: FakeBoard, connect: Connect, faults: dict[str, float], seed: int
) -> None:
    def flip_last_bit(step: int, logits: NDArray[np.float32]) -> None:
        if step == 5 + seed:
            logits.view(np.uint32)[3] ^= 1

    board.on_step = flip_last_bit
    with HostileLine(board.port, faults, seed) as line:
        report = _validate(connect(line.url), board.model, steps=12)
    assert not report.ok
    assert report.comparison.equal_logits == 11
    difference = report.comparison.first_difference
    assert difference is not None
    assert (difference.step, difference.index, difference.differing) == (5 + seed, 3, 1)


@pytest.mark.parametrize("reset_before", [1, 11])
def test_validate_reset_in_the_middle_on_a_bad_line(board: FakeBoard, connect: Connect, reset_before: int) -> None:
    board.reset_before = {reset_before}
    with HostileLine(board.port, FAULTS[-1], reset_before) as line, pytest.raises(DeviceError, match="reset"):
        _validate(connect(line.url), board.model, steps=12)


@pytest.mark.parametrize("steps", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_steps_at_one_percent_byte_errors(connect: Connect, steps: int) -> None:
    with (
        FakeBoard(vocab_size=6, context=100) as board,
        HostileLine(board.port, {"flip": 0.005, "drop": 0.005}, seed=3) as line,
    ):
        client = connect(line.url)
        client.identify(patience_s=30)
        prompts = draw_prompts(vocab_size=6, context=100, steps=steps, seed=2)
        report = validate_board(client, FakeModel(vocab_size=6), prompts, plan=PLAN)
    assert report.retries > steps / 10
    assert report.ok
    assert report.comparison.equal_logits == steps


def test_a_dead_line_is_a_named_error(board: FakeBoard, connect: Connect) -> None:
    with HostileLine(board.port, {"flip": 0.3}, seed=3) as line, pytest.raises(DeviceError, match="no reply"):
        connect(line.url).identify(patience_s=2)
