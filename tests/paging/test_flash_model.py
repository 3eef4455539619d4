"""The watch example with its experts behind a modelled flash: the golden's bits at each speed, and how much of it is hidden."""

from pathlib import Path
from typing import Any

import pytest
from verbs import run_cli

from mmoe_embed.board import load_board
from mmoe_embed.errors import UsageError
from mmoe_embed.storage import FlashModel, parse_flash_model, set_pace

ROOT = Path(__file__).resolve().parents[2]
WATCH = ROOT / "examples" / "watch"
BOARD = "qemu_mps2_an386"


def measure(folder: Path, *options: str) -> dict[str, Any]:
    """Build the watch example in 128 KiB and validate a few requests."""
    build = run_cli("build", WATCH, "--board", BOARD, "--sram", "128K", "-o", folder / "b", *options)
    assert build["plan"]["expert_mode"] == "paged"
    assert build["plan"]["sram_used_bytes"] <= 128 * 1024
    assert not build["plan"]["mapped"]
    prompts = folder / "prompts.txt"
    prompts.write_text("call mum\n")
    report = run_cli("validate", folder / "b", "--prompts", prompts, "--steps", "30")
    assert report["ok"]
    assert report["comparison"]["equal_logits"] == report["comparison"]["steps"] >= 30
    return report


@pytest.mark.arm
@pytest.mark.qemu
@pytest.mark.parametrize("speed", ["8M", "20M", "100M"])
def test_load_time_is_hidden_at_each_speed(tmp_path: Path, speed: str) -> None:
    report = measure(tmp_path, "--flash-model", speed)
    assert report["compute_per_load"] >= 1
    assert report["hidden_share"] >= 0.6
    statistics = report["statistics"]
    own = statistics["misses"] * (6656 / parse_flash_model(speed, None, load_board(BOARD)).bytes_per_s + 20e-6)
    assert statistics["load_ticks"] / report["identity"]["tick_hz"] == pytest.approx(own, rel=0.03)


@pytest.mark.arm
@pytest.mark.qemu
def test_load_time_is_hidden_where_compute_is_hardly_longer(tmp_path: Path) -> None:
    report = measure(tmp_path, "--flash-model", "13M", "--instruction-ns", "8")
    assert 1 <= report["compute_per_load"] < 1.2
    assert report["hidden_share"] >= 0.6


@pytest.mark.arm
@pytest.mark.qemu
def test_driver_that_blocks_hides_nothing(tmp_path: Path) -> None:
    report = measure(tmp_path, "--flash-model", "20M:20us:blocking")
    assert report["hidden_share"] < 0.01


def test_parse_flash_model() -> None:
    board = load_board(BOARD)
    assert parse_flash_model("8M", None, board) == FlashModel(8_000_000, 20_000, False, 32)
    assert parse_flash_model("2.5M:1ms:blocking", 1, board) == FlashModel(2_500_000, 1_000_000, True, 1)
    assert parse_flash_model("400K:50ns", 1024, board) == FlashModel(400_000, 50, False, 1024)
    for wrong in ("", "fast", "0M", "8M:20", "8M:blocked"):
        with pytest.raises(UsageError, match="no flash model"):
            parse_flash_model(wrong, None, board)
    with pytest.raises(UsageError, match="30 ns"):
        parse_flash_model("8M", 30, board)
    with pytest.raises(UsageError, match="host_x86_64"):
        parse_flash_model("8M", None, load_board("host_x86_64"))


def test_set_pace_changes_the_emulator_alone() -> None:
    board = load_board(BOARD)
    paced = set_pace(board, parse_flash_model("8M", 16, board))
    assert paced.runner.qemu is not None
    assert paced.runner.qemu.args == ["-icount", "shift=4"]
    assert paced.runner.qemu.instructions_per_second == 62_500_000
    assert set_pace(board, None) is board
