"""Cache-aware routing of the watch example: proven on a board, and its cost measured."""

import json
from pathlib import Path

import pytest
from paging.conftest import SLOTS, copy_objects

from mmoe_embed.build import BuildRequest, build_firmware
from mmoe_embed.build_folder import BuildFolder
from mmoe_embed.cli import main
from mmoe_embed.paging.margins import MarginCost, choose_margin
from mmoe_embed.paging.placement import Placement
from mmoe_embed.plan import PlanRequest

WATCH = Path(__file__).resolve().parents[2] / "examples/watch"
MARGIN = 0.2


def run(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> dict[str, object]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        main([*map(str, arguments), "--json"])
    printed = capsys.readouterr()
    assert stopped.value.code == code, printed.err
    data: dict[str, object] = json.loads(printed.out)["data"]
    return data


@pytest.fixture(scope="module")
def aware_build(paged_build: BuildFolder, tmp_path_factory: pytest.TempPathFactory) -> BuildFolder:
    """The paged build with cache-aware routing."""
    folder = tmp_path_factory.mktemp("aware") / "build"
    copy_objects(paged_build, folder)
    request = PlanRequest(expert_slots=SLOTS, paging=Placement(cache_margin=MARGIN))
    return build_firmware(BuildRequest(WATCH, "host_x86_64", folder, "int4", request))


@pytest.mark.gcc
def test_validate_proves_cache_aware_routing_that_hits_more(
    aware_build: BuildFolder, paged_build: BuildFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, aware = (run(capsys, "validate", build.path, "--steps", "120") for build in (paged_build, aware_build))
    assert plain["ok"]
    assert aware["ok"]
    assert [check["name"] for check in aware["checks"]] == [check["name"] for check in plain["checks"]]
    assert aware["statistics"]["misses"] < 0.8 * plain["statistics"]["misses"]


@pytest.mark.gcc
def test_accuracy_of_the_board_is_the_goldens(aware_build: BuildFolder, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("accuracy", aware_build.path, WATCH / "heldout.jsonl", "--limit", "3", "--fresh")
    board, host = run(capsys, *arguments), run(capsys, *arguments, "--host")
    assert board["perplexity"] == host["perplexity"]
    measured = run(capsys, "margins", aware_build.path, WATCH / "heldout.jsonl", "--limit", "3", "--margins", MARGIN)
    assert measured["margins"][1]["perplexity"] == pytest.approx(board["perplexity"], rel=1e-6)
    assert measured["margins"][1]["exact_match"] == board["exact_match"]


@pytest.mark.gcc
def test_margins_bounds_the_loss(paged_build: BuildFolder, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("margins", paged_build.path, WATCH / "heldout.jsonl", "--limit", "4")
    data = run(capsys, *arguments, "--margins", "0.05,1", "--max-loss", "10")
    plain, small, whole = data["margins"]
    assert [plain["margin"], small["margin"], whole["margin"]] == [0, 0.05, 1]
    assert plain["hit_rate"] < small["hit_rate"] < whole["hit_rate"]
    assert whole["perplexity"] > 1.1 * plain["perplexity"]
    assert data["margin"] == 0.05
    assert run(capsys, *arguments, "--margins", "1", "--max-loss", "10", code=1)["margin"] == 0


def test_choose_margin_takes_the_largest_within_the_loss() -> None:
    costs = [MarginCost(margin, perplexity, 1, 1, 1) for margin, perplexity in ((0, 2), (0.1, 2.01), (0.2, 2.03))]
    assert choose_margin(costs, 0.0) == 0
    assert choose_margin(costs, 0.01) == 0.1
    assert choose_margin(costs, 0.02) == 0.2


@pytest.mark.parametrize("margins", ["many", "2", "-0.1"])
def test_margins_refuses_what_is_none(
    paged_build: BuildFolder, margins: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["margins", str(paged_build.path), str(WATCH / "heldout.jsonl"), f"--margins={margins}"])
    assert stopped.value.code == 2
    assert "margin" in capsys.readouterr().err
