"""The PL081 of an emulated Cortex-M33 copies experts while the core computes."""

from pathlib import Path

import pytest
from test_flash_model import WATCH, run_cli

from mmoe_embed.board import load_board
from mmoe_embed.cli.boards import render_board
from mmoe_embed.errors import UsageError
from mmoe_embed.storage import choose_storage

BOARD = "qemu_mps2_an505"


@pytest.mark.arm
@pytest.mark.qemu
@pytest.mark.parametrize("options", [[], ["--flash-model", "20M"]])
def test_dma_engine_brings_the_goldens_bits(tmp_path: Path, options: list[str]) -> None:
    build = run_cli(
        "build", WATCH, "--board", BOARD, "--storage", "pl081", "--expert-slots", "9", "-o", tmp_path / "b", *options
    )
    assert build["plan"]["storage"] == "pl081"
    (tmp_path / "prompts.txt").write_text("call mum\n")
    report = run_cli("validate", tmp_path / "b", "--prompts", tmp_path / "prompts.txt", "--steps", "30")
    assert report["ok"]
    assert report["comparison"]["equal_logits"] == report["comparison"]["steps"]
    assert report["statistics"]["bytes_loaded"] == report["statistics"]["misses"] * 6656 > 0
    if options:
        assert report["hidden_share"] >= 0.6


def test_storage_of_a_board_is_shown_and_chosen() -> None:
    board = load_board(BOARD)
    assert "storage   mapped, pl081 at 0x50110000, interrupt 58" in render_board(board)
    assert choose_storage(board, None).driver == "mapped"
    with pytest.raises(UsageError, match="no storage driver 'file'"):
        choose_storage(board, "file")
