"""The law's constants come back from losses that it made."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from made_law import LAW

from mmoe_embed.cli.design import draw_residuals
from mmoe_embed.design.law import Law
from mmoe_embed.design.refit import fit_law
from mmoe_embed.design.runs import Run, read_runs, write_runs
from mmoe_embed.design.shapes import Coordinates
from mmoe_embed.errors import ToolkitError, UsageError

VARIANTS = [(2, False), (4, False), (4, True), (8, True)]


def _runs(law: Law, noise: float, sizes: tuple[int, ...] = (64_000, 150_000, 311_000, 790_000)) -> list[Run]:
    rng = np.random.default_rng(1)
    runs = []
    for size in sizes:
        for tokens in (250_000, 500_000, 1_000_000):
            for experts in (1, 2, 8, 32):
                for granularity, shared in VARIANTS if experts > 1 else [(1, False)]:
                    routed = 0 if experts == 1 else granularity // (1 + shared)
                    at = Coordinates(size, 2 * size, experts, granularity, shared, routed)
                    loss = float(law.loss(size, tokens, experts, granularity, shared)) + rng.normal(0, noise)
                    runs.append(Run(f"{size}-{tokens}-{experts}-{granularity}-{shared}", at, tokens, loss, loss / 2))
    return runs


def test_fit_finds_the_constants_and_their_intervals() -> None:
    fit = fit_law(_runs(LAW, 0.005), "made", samples=30)
    assert fit.law.rmse < 0.007
    for name, interval in fit.intervals.items():
        assert interval.value == pytest.approx(getattr(LAW, name), abs=0.1)
        assert interval.low < interval.value < interval.high or interval.low <= getattr(LAW, name) <= interval.high
    findings = fit.findings
    assert findings.finer is not None
    assert findings.shared is not None
    assert findings.finer.high < 1
    assert findings.shared.high < 1  # both help, as in the law that made the runs
    assert "helps" in findings.summary()
    assert fit.law.fitted.active == (64_000, 790_000)


def test_fit_shrugs_at_a_run_that_went_wrong() -> None:
    """Huber's loss: one loss of 1.5 times its value moves a prediction by less than 0.5 %."""
    runs = _runs(LAW, 0.0)
    runs[7] = dataclasses.replace(runs[7], loss=1.5 * runs[7].loss)
    law = fit_law(runs, "made", samples=10).law
    assert law.loss(200_000, 600_000, 8, 4, True) == pytest.approx(LAW.loss(200_000, 600_000, 8, 4, True), rel=5e-3)


def test_fit_leaves_out_what_the_runs_do_not_vary() -> None:
    dense = [run for run in _runs(LAW, 0.002) if run.at.experts == 1]
    fit = fit_law(dense, "dense", samples=10)
    assert set(fit.intervals) == {"A", "alpha", "B", "beta", "c"}
    assert (fit.law.delta, fit.law.eta, fit.law.sigma) == (0, 0, 0)
    assert fit.findings.best_experts is None


def test_fit_leaves_out_models_that_choose_one_expert() -> None:
    """However bad they are, they move no constant."""
    runs = _runs(LAW, 0.002)
    at = Coordinates(64_000, 128_000, 8, 1, False, 1)
    alone = Run("alone", at, 500_000, 9.0, 4.5)
    fit = fit_law([*runs, alone], "made", samples=10)
    assert fit.left_out == (alone,)
    assert fit.law == fit_law(runs, "made", samples=10).law


def test_fit_says_what_is_missing() -> None:
    with pytest.raises(UsageError, match="all runs have the same active parameters"):
        fit_law(_runs(LAW, 0.0, sizes=(64_000,)), "one size")
    with pytest.raises(UsageError, match="5 runs cannot fix"):
        fit_law(_runs(LAW, 0.0)[::30][:5], "few")


def test_residuals_are_drawn_for_every_run() -> None:
    fit = fit_law(_runs(LAW, 0.005), "made", samples=10)
    drawing = draw_residuals(fit)
    assert drawing.count("<circle") == len(fit.runs)
    assert "E = 32" in drawing


def test_runs_survive_their_csv(tmp_path: Path) -> None:
    runs = sorted(_runs(LAW, 0.0), key=lambda run: run.name)
    file = tmp_path / "runs.csv"
    file.write_text(write_runs(runs), "utf-8")
    read = read_runs(file)
    assert [(r.name, r.at, r.tokens) for r in read] == [(r.name, r.at, r.tokens) for r in runs]
    assert [r.loss for r in read] == pytest.approx([r.loss for r in runs], abs=1e-5)
    file.write_text("a,b\n1,2\n", "utf-8")
    with pytest.raises(ToolkitError, match="not a CSV of runs"):
        read_runs(file)
    with pytest.raises(ToolkitError, match="no finished run"):
        read_runs(tmp_path)
