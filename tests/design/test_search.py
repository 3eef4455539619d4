"""A design for a board: what it keeps to, and what it leaves behind."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from made_law import LAW

from mmoe_embed.board import load_board
from mmoe_embed.cli import main
from mmoe_embed.config import load_config
from mmoe_embed.design import candidates
from mmoe_embed.design.candidates import stand_in
from mmoe_embed.design.costs import Meter
from mmoe_embed.design.report import draw_front, summarize_design, write_recipe
from mmoe_embed.design.search import Design, DesignRequest, search_design
from mmoe_embed.errors import FitError, UsageError
from mmoe_embed.fit import describe_fit
from mmoe_embed.plan import PlanRequest, plan_model
from mmoe_embed.train.recipe import load_recipe

BOARD = "qemu_netduinoplus2"  # 1 MiB of flash, 192 KiB of SRAM


@pytest.fixture(scope="module", autouse=True)
def small_grid() -> Iterator[None]:
    """Every axis, with few values."""
    with pytest.MonkeyPatch.context() as patch:
        for name, values in (("WIDTHS", (16, 48, 96, 128)), ("LAYERS", (2, 4)), ("GRANULARITIES", (1, 4))):
            patch.setattr(candidates, name, values)
        patch.setattr(candidates, "EXPERTS", (1, 4, 16))
        yield


@pytest.fixture(scope="module")
def design(small_grid: None) -> Design:
    return search_design(load_board(BOARD), LAW, DesignRequest(context=128, tokens=1_000_000))


def test_front_is_a_front(design: Design) -> None:
    assert len(design.front) > 2
    for better, cheaper in itertools.pairwise(design.front):
        assert better.candidate.loss < cheaper.candidate.loss
        assert better.cost.total > cheaper.cost.total
    assert design.planned < 0.2 * design.tried  # most are refused without the planner


def test_best_design_fits_by_the_planner(design: Design) -> None:
    """Planned anew, apart from the search: it fits, and its token costs what was said."""
    best, board = design.best, load_board(BOARD)
    model = stand_in(best.candidate.config, best.candidate.scheme)
    plan = plan_model(model, board, PlanRequest(chunk=best.plan.chunk))
    assert plan.sram_used_bytes == best.plan.sram_used_bytes <= 196_608
    assert describe_fit(board, model, plan).instructions_per_token == pytest.approx(best.cost.instructions, rel=1e-6)
    counted = Meter(board).instructions(best.candidate)  # from its parts
    assert counted == pytest.approx(best.cost.instructions, rel=1e-6)


def test_limit_names_what_the_smallest_better_design_breaks(design: Design) -> None:
    limit = design.limit
    assert limit.name in ("flash", "SRAM")
    assert limit.smallest is not None
    assert limit.smallest.loss <= design.best.candidate.loss
    with pytest.raises(FitError):
        plan_model(stand_in(limit.smallest.config, limit.smallest.scheme), load_board(BOARD), PlanRequest(chunk=1))
    assert f"binds      {limit.name}" in summarize_design(load_board(BOARD), design)


def test_latency_binds_where_it_is_asked_for(design: Design) -> None:
    board = load_board(BOARD)
    wanted = 4 * board.soc.clock_hz / design.best.cost.total  # four times as fast as the best
    fast = search_design(board, LAW, DesignRequest(wanted, context=128, tokens=1_000_000))
    assert fast.best.cost.total <= board.soc.clock_hz / wanted
    assert fast.best.candidate.loss > design.best.candidate.loss
    assert fast.limit.name == "latency"


def test_recipe_is_one_that_train_takes(design: Design, tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text(write_recipe(design, "corpus/*.txt"), "utf-8")
    recipe = load_recipe(file)
    assert recipe.model_config() == design.best.candidate.config
    assert [stage.scheme for stage in recipe.stage] == ["float", design.best.candidate.scheme]
    assert recipe.stage[0].tokens == 1_000_000


def test_front_is_drawn(design: Design) -> None:
    drawing = draw_front(load_board(BOARD), design)
    assert drawing.count("<circle") == len(design.front)


def test_nothing_fits_where_nothing_can() -> None:
    with pytest.raises(FitError, match=r"none of .* designs fits qemu_netduinoplus2; the smallest"):
        search_design(load_board(BOARD), LAW, DesignRequest(sram_bytes=8192))


def test_board_without_counts_is_refused() -> None:
    with pytest.raises(UsageError, match="no kernel has been counted on the core of host_x86_64"):
        search_design(load_board("host_x86_64"), LAW, DesignRequest())


def test_command_writes_recipe_and_front(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as code:
        main(["design", "--board", BOARD, "--sram", "64K", "--context", "64", "-o", str(tmp_path / "out"), "--json"])
    assert code.value.code == 0
    envelope = json.loads(capsys.readouterr().out)
    assert envelope["verb"] == "design"
    assert envelope["data"]["front"][0]["sram_used_bytes"] <= 65536
    assert load_recipe(tmp_path / "out" / "recipe.toml").model_config().max_position_embeddings == 64
    assert (tmp_path / "out" / "front.svg").read_text("utf-8").startswith("<svg")


@pytest.mark.torch
def test_recipe_trains(design: Design, tmp_path: Path) -> None:
    """A step of each stage, and the checkpoint is of the design."""
    pytest.importorskip("torch", reason="needs PyTorch (the train extra)")
    from mmoe_embed.train.loop import train_recipe

    for number in range(40):
        (tmp_path / f"{number}.txt").write_text(f"text {number} of a corpus, {number % 7} words long\n" * 40, "utf-8")
    text = (
        write_recipe(design, "*.txt").replace("tokens = 1000000", "tokens = 1").replace("tokens = 100000", "tokens = 1")
    )
    file = tmp_path / "recipe.toml"
    file.write_text(text.replace("batch = 16", "batch = 2"), "utf-8")
    result = train_recipe(file, tmp_path / "run")
    assert load_config(result.checkpoint) == design.best.candidate.config
    assert set(result.held_out) == {"pre-train", "quantization-aware"}
