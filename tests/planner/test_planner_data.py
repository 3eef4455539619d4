"""Known instances: the figures that must not get worse."""

from __future__ import annotations

from pathlib import Path

import pytest

from memory_planner import native, solve, validate
from memory_planner.table import read_csv

pytestmark = pytest.mark.skipif(not native.is_available(), reason="needs the compiled planner core")


@pytest.mark.parametrize("name", ["A", "B", "C", "E", "F"])
def test_solve_minimalloc_is_proven(data: Path, name: str) -> None:
    problem = read_csv(data / "minimalloc" / f"{name}.1048576.csv")
    plan = solve(problem, 20.0)
    validate(problem, plan)
    assert plan.proven
    assert plan.total_bytes == (1_039_360 if name == "C" else 1_048_576)
    assert plan.cpu_seconds < 2.0


@pytest.mark.slow
def test_solve_minimalloc_d_is_within_its_capacity(data: Path) -> None:
    plan = solve(read_csv(data / "minimalloc" / "D.1048576.csv"), 60.0)
    assert plan.total_bytes <= 1_048_576


def test_solve_real_models_are_proven_at_once(data: Path) -> None:
    paths = sorted((data / "tflm").glob("*.csv"))
    assert paths
    for path in paths:
        plan = solve(read_csv(path), 5.0)
        assert plan.proven, path.name
        assert plan.cpu_seconds < 0.05, path.name
        if path.stem == "vww_96_int8":
            assert plan.total_bytes == 55_296
