"""With every expert resident the pager is all but free: instructions of a token with it and without any."""

import dataclasses
from pathlib import Path

import pytest

from mmoe_embed import compile as compile_module
from mmoe_embed.board import load_board
from mmoe_embed.build import BuildRequest, build_firmware
from mmoe_embed.plan import PlanRequest
from mmoe_embed.port import Port, describe_port
from mmoe_embed.resources import boards_dir, firmware_dir
from mmoe_embed.runners import connect_board

ROOT = Path(__file__).resolve().parents[2]
WATCH = ROOT / "examples" / "watch"
NO_PAGER = ROOT / "tests" / "firmware" / "c" / "no_pager.c"
REPLACED = ("pager.c", "policy.c", "image.c")


def roomy_board(folder: Path) -> Path:
    """The emulated Cortex-M4F with all of its SRAM, so that all experts fit."""
    text = (boards_dir() / "qemu_mps2_an386.toml").read_text()
    file = folder / "roomy.toml"
    file.write_text(text.replace('name = "qemu_mps2_an386"', 'name = "roomy"').replace("budget = 196_608\n", ""))
    return file


def ticks_per_step(folder: Path, board: Path) -> float:
    request = BuildRequest(WATCH, str(board), folder, "int8", PlanRequest(expert_slots=64, chunk=1))
    build = build_firmware(request)
    assert build.plan["expert_mode"] == "resident"
    with connect_board(load_board(board), build) as client:
        for _ in range(6):  # until every expert that these tokens use is there
            client.reset(clear_statistics=True)
            ticks = [client.step(token).ticks for token in range(40, 70)]
        assert client.statistics().misses == 0
    return sum(ticks) / len(ticks)


@pytest.mark.arm
@pytest.mark.qemu
def test_resident_experts_cost_less_than_one_percent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board = roomy_board(tmp_path)
    with_pager = ticks_per_step(tmp_path / "with", board)

    def describe_without_pager(*arguments: object, **options: object) -> Port:
        port = describe_port(*arguments, **options)  # type: ignore[arg-type]
        kept = tuple(file for file in port.sources if file.name not in REPLACED)
        assert len(kept) == len(port.sources) - len(REPLACED)
        return dataclasses.replace(port, sources=(*kept, NO_PAGER), includes=(*port.includes, firmware_dir() / "src"))

    monkeypatch.setattr(compile_module, "describe_port", describe_without_pager)
    without = ticks_per_step(tmp_path / "without", board)
    print(f"with the pager {40 * with_pager:,.0f} instructions a token, without {40 * without:,.0f}")
    assert 1 <= with_pager / without < 1.01
