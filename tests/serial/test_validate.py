"""Validation: what it finds, what it says, what it writes."""

import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from fake_board import FakeBoard, FakeModel
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mmoe_embed.board import load_board
from mmoe_embed.errors import DeviceError
from mmoe_embed.junit import write_junit
from mmoe_embed.serial.client import BoardClient
from mmoe_embed.validate import Prompt, Report, draw_prompts, validate_board
from mmoe_embed.validate_report import describe_cost, render_report

Connect = Callable[..., BoardClient]
PLAN = {"arena_bytes": 1000, "stack_bytes": 2048}


def _failed(report: Report) -> list[str]:
    return [check.name for check in report.checks if not check.ok]


def _validate(client: BoardClient, prompts: list[Prompt] | None = None, **changes: object) -> Report:
    plan = PLAN | changes
    return validate_board(
        client, FakeModel(), prompts or draw_prompts(vocab_size=40, context=24), plan=plan, op_names=["embed"]
    )


def test_validate_good_board(board: FakeBoard, connect: Connect) -> None:
    seen = []
    client = connect(board.url)
    prompts = draw_prompts(vocab_size=40, context=24)
    report = validate_board(client, FakeModel(), prompts, plan=PLAN, on_step=lambda: seen.append(1))
    assert report.ok
    assert (report.comparison.steps, report.comparison.prompts, len(seen)) == (200, 10, 200)
    text = render_report(report, load_board("qemu_mps3_an547"))
    assert "\nlogits bit-identical to the golden: 200 of 200 steps\n" in text
    assert "FAILED" not in text
    assert "hit rate 75.0 %" in text
    assert json.loads(json.dumps(report.to_dict()))["ok"] is True


def test_validate_one_wrong_bit_is_named(board: FakeBoard, connect: Connect, tmp_path: Path) -> None:
    def flip(step: int, logits: NDArray[np.float32]) -> None:
        if step == 30:
            logits.view(np.uint32)[[17, 20]] ^= 0x80000000

    board.on_step = flip
    report = _validate(connect(board.url))
    assert "logits" in _failed(report)
    difference = report.comparison.first_difference
    assert difference is not None
    assert (difference.step, difference.prompt, difference.position) == (30, 1, 10)
    assert (difference.index, difference.differing) == (17, 2)
    assert int(difference.board, 16) ^ int(difference.golden, 16) == 0x80000000
    text = render_report(report, load_board("host_x86_64"))
    assert "golden: 199 of 200 steps" in text
    assert f"logit 17: board 0x{difference.board}, golden 0x{difference.golden}" in text
    write_junit(tmp_path / "deep" / "report.xml", "suite", report)
    root = ElementTree.parse(tmp_path / "deep" / "report.xml").getroot()
    assert root.attrib["failures"] == str(len(_failed(report)))
    assert [case.attrib["name"] for case in root.iter("testcase") if case.find("failure") is not None] == _failed(
        report
    )


def test_validate_wrong_kernel_is_named(board: FakeBoard, connect: Connect) -> None:
    board.wrong_kernel = "kernel_1"
    report = _validate(connect(board.url))
    assert _failed(report) == ["kernels"]
    assert "2 of 3; kernel_1 gave 00000007, must give 00000008" in [check.detail for check in report.checks]


def test_validate_zero_of_another_sign_is_a_difference(board: FakeBoard, connect: Connect) -> None:
    class Zero(FakeModel):
        def step(self, token: int) -> NDArray[np.float32]:
            super().step(token)
            return np.zeros(self.vocab_size, np.float32)

    board.on_step = lambda step, logits: logits.fill(-0.0)
    report = validate_board(connect(board.url), Zero(), [Prompt((1, 2), 2)], plan=PLAN)
    assert report.comparison.equal_logits == 0
    assert report.comparison.first_difference is not None
    assert report.comparison.first_difference.board == "80000000"


def test_validate_wrong_route(board: FakeBoard, connect: Connect) -> None:
    def reroute(step: int, logits: NDArray[np.float32]) -> None:
        if step == 3:
            board.model.routes[1, 2] += 1

    board.on_step = reroute
    assert _failed(_validate(connect(board.url))) == ["routes"]


def test_validate_watermark_over_the_plan(board: FakeBoard, connect: Connect) -> None:
    client = connect(board.url)
    assert _failed(_validate(client, stack_bytes=1000)) == ["stack watermark"]
    assert "arena as planned" in _failed(_validate(client, arena_bytes=960))


def test_validate_steps_of_someone_else(board: FakeBoard, connect: Connect) -> None:
    def count_more(step: int, logits: NDArray[np.float32]) -> None:
        board.counted += step == 5

    board.on_step = count_more
    assert _failed(_validate(connect(board.url))) == ["steps counted"]


def test_validate_logits_of_another_step(board: FakeBoard, connect: Connect) -> None:
    client = connect(board.url)
    client.reset()
    step = client.step(1)
    board.logits = board.logits + np.float32(1)
    with pytest.raises(DeviceError, match="of another step"):
        client.checked_logits(step)


def test_validate_reset_at_the_start_of_a_sequence_is_noticed(board: FakeBoard, connect: Connect) -> None:
    board.reset_before = {20}  # the first step of the second prompt: no position tells
    with pytest.raises(DeviceError, match="reset in mid-run"):
        _validate(connect(board.url))


def test_validate_texts_and_answers(board: FakeBoard, connect: Connect) -> None:
    encoded = tuple(b % 40 for b in b"hello")
    prompt = Prompt(encoded, 8, None, "hello", encoded)
    client = connect(board.url)
    report = validate_board(client, FakeModel(), [prompt], plan=PLAN, answer=lambda text: text[:4].encode()[::-1])
    assert report.ok
    wrong = Prompt(encoded, 8, None, "hellO", encoded)
    report = validate_board(client, FakeModel(), [wrong], plan=PLAN, answer=lambda text: b"no")
    assert _failed(report) == ["tokenizer", "answers"]


@given(st.integers(1, 500), st.integers(1, 300), st.integers(1, 20), st.integers(0, 5))
def test_draw_prompts_adds_up_and_repeats(steps: int, context: int, least: int, seed: int) -> None:
    prompts = draw_prompts(vocab_size=9, context=context, steps=steps, seed=seed, least=least)
    assert sum(prompt.steps for prompt in prompts) == steps
    assert all(1 <= len(prompt.tokens) <= prompt.steps <= context for prompt in prompts)
    assert len(prompts) >= min(least, steps)
    assert prompts == draw_prompts(vocab_size=9, context=context, steps=steps, seed=seed, least=least)


def test_describe_cost_never_calls_instructions_seconds() -> None:
    emulated = describe_cost(3200, 32_000_000, load_board("qemu_mps3_an547"))
    assert emulated == "100,000 instructions a token, 10.00 tokens per million instructions"
    assert describe_cost(3200, 32_000_000, load_board("host_x86_64")) == "0.100 ms a token"
    assert describe_cost(3200, 0, load_board("host_x86_64")) == "3,200 ticks a token"
