"""`design`'s subcommands as a user calls them."""

import json
from pathlib import Path

import pytest
from made_law import LAW
from verbs import call_verb

from mmoe_embed.design.law import load_law
from mmoe_embed.design.runs import Run, write_runs
from mmoe_embed.design.shapes import Coordinates


def _call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    return call_verb(capsys, "design", *arguments)


def test_fit_writes_a_law_that_law_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [
        Run(f"{n}-{d}-{e}", Coordinates(n, n, e, 4 if e > 1 else 1, e > 1, 2 * (e > 1)), d, float(LAW.loss(n, d, e, 4, True)), 1.0)
        for n in (60_000, 200_000)
        for d in (200_000, 900_000)
        for e in (1, 2, 8, 32)
    ]
    (tmp_path / "runs.csv").write_text(write_runs(runs), "utf-8")
    code, out, _ = _call(capsys, "fit", str(tmp_path / "runs.csv"), "--samples", "10", "-o", str(tmp_path / "fit"))
    assert code == 0
    assert "law: runs.csv, 16 runs; root mean square 0.0" in out
    assert "experts      lowest loss at E = " in out
    law = tmp_path / "fit" / "law.json"
    assert load_law(str(law)).loss(1e5, 4e5, 8, 4, True) == pytest.approx(LAW.loss(1e5, 4e5, 8, 4, True), rel=0.01)
    code, out, _ = _call(capsys, "law", "--law", str(law), "--json")
    assert json.loads(out)["data"]["losses"]["8"] < json.loads(out)["data"]["losses"]["1"]


def test_paper_law_says_that_it_is_far_from_a_board(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = _call(capsys, "law", "--law", "paper", "--active", "500000000", "--tokens", "500000000000")
    assert (code, out.count("note:")) == (0, 0)
    assert "E = 4   2.3053" in out
    _, out, _ = _call(capsys, "law", "--law", "paper", "--active", "300000", "--tokens", "3000000")
    assert "active 300,000 is outside 300,000,000..900,000,000 of the law's runs" in out


def test_design_without_a_board_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = _call(capsys)
    assert code == 2
    assert "a design is for a board" in err
    code, out, _ = _call(capsys, "--json")
    assert (code, json.loads(out)["exit_code"]) == (2, 2)
