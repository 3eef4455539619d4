"""The watch example on its boards: the demo's summary, and 200 steps of the golden's bits however experts are kept."""

from pathlib import Path

import pytest
from verbs import run_cli

ROOT = Path(__file__).resolve().parents[2]
WATCH = ROOT / "examples" / "watch"


@pytest.mark.arm
@pytest.mark.qemu
def test_demo_answers_and_proves_it(tmp_path: Path) -> None:
    board, prompt = "qemu_mps3_an547", "wake me at ten past six"
    data = run_cli("demo", WATCH, "--board", board, "--sram", "256K", "-o", tmp_path / "b", "--prompt", prompt)
    assert data["answer"] == "alarm(06:10)"
    report, plan = data["validate"], data["build"]["plan"]
    assert report["ok"]
    assert report["comparison"]["equal_logits"] == report["comparison"]["steps"] >= 200
    assert report["comparison"]["prompts"] >= 10
    assert plan["expert_mode"] == "paged"
    assert plan["sram_used_bytes"] <= 256 * 1024
    sizes = data["build"]["sizes"]
    assert report["statistics"]["stack_used"] <= plan["stack_bytes"]
    assert 0 < sizes["stack_bound"] < plan["stack_bytes"]


@pytest.mark.arm
@pytest.mark.qemu
@pytest.mark.parametrize(
    ("board", "options", "mode"),
    [
        ("host_x86_64", ["--scheme", "int4"], "resident"),
        ("qemu_mps2_an386", ["--scheme", "int4", "--expert-slots", "5"], "paged"),
        ("qemu_mps2_an386", ["--scheme", "int4", "--expert-slots", "0"], "in place"),
        ("qemu_netduinoplus2", [], "paged"),
    ],
)
def test_board_gives_the_golden_bits_for_200_steps(tmp_path: Path, board: str, options: list[str], mode: str) -> None:
    build = run_cli("build", WATCH, "--board", board, "-o", tmp_path / "b", *options)
    assert build["plan"]["expert_mode"] == mode
    report = run_cli("validate", tmp_path / "b")
    assert report["ok"]
    assert report["comparison"]["equal_logits"] == report["comparison"]["steps"] >= 200
