"""Hard and odd problems: valid plans, within the deadline, never worse than a baseline, whatever the family."""

from __future__ import annotations

import random
import re
import resource
import time
from pathlib import Path

import pytest
from hard_problems import FAMILIES, tiling, transformer

from memory_planner import Buffer, Problem, SearchOptions, native, solve, validate
from memory_planner.baselines import BASELINES, WITHOUT_PINS
from memory_planner.layout import build_layout

pytestmark = pytest.mark.skipif(not native.is_available(), reason="needs the compiled planner core")
README = Path(__file__).resolve().parents[2] / "memory_planner" / "README.md"


def check(problem: Problem, deadline_s: float) -> None:
    begin = time.perf_counter()
    cpu = time.process_time()
    plan = solve(problem, deadline_s)
    late = min(time.perf_counter() - begin, time.process_time() - cpu) - deadline_s
    validate(problem, plan)
    assert late < 2.0
    assert plan.lower_bound_bytes <= plan.total_bytes
    layout = build_layout(problem.buffers)
    has_pins = bool((layout.pin >= 0).any())
    for name, baseline in BASELINES.items():
        if name == "usmp_hill" or (has_pins and name in WITHOUT_PINS) or layout.count > 3000:
            continue
        peak = baseline(layout)[0] * layout.unit
        # a layout counts whole units; the topmost buffer may end within one
        assert plan.total_bytes <= peak, name


@pytest.mark.parametrize("family", FAMILIES)
def test_solve_family_is_valid_in_time_and_no_baseline_is_better(family: str) -> None:
    check(FAMILIES[family](random.Random(1)), 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", range(2, 12))
def test_solve_many_of_a_family(family: str, seed: int) -> None:
    check(FAMILIES[family](random.Random(seed)), 1.0)


def test_solve_tilings_are_proven() -> None:
    """Nothing may be wasted, so that first fits fail by a fifth; most are found all the same."""
    proven = sum(solve(tiling(random.Random(seed), 60), 20.0).proven for seed in range(6))
    assert proven >= 5


@pytest.mark.slow
def test_solve_ten_thousand_buffers_are_within_a_hundredth() -> None:
    plan = solve(transformer(random.Random(3), layers=715), 60.0)
    assert plan.total_bytes <= 1.01 * plan.lower_bound_bytes
    assert plan.cpu_seconds < 10.0


@pytest.mark.slow
def test_solve_sixty_thousand_buffers_keep_to_the_memory_limit() -> None:
    rng = random.Random(4)
    buffers = [
        Buffer(f"b{i}", rng.randrange(1, 1 << 20), at := rng.randrange(20_000), at + rng.randrange(1, 3000))
        for i in range(60_000)
    ]
    problem = Problem(tuple(buffers))
    plan = solve(problem, 30.0)
    validate(problem, plan)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 2_000_000  # KiB


@pytest.mark.parametrize("count", [0, 1, 2])
def test_solve_few_buffers_are_proven(count: int) -> None:
    problem = Problem(tuple(Buffer(f"b{i}", 2**60, -(2**62), 2**62) for i in range(count)))
    plan = solve(problem, 1.0)
    assert (plan.total_bytes, plan.proven) == (count * 2**60, True)


def test_solve_threads_answer_the_same_twice() -> None:
    problem = tiling(random.Random(9), 40)
    first, second = (solve(problem, 20.0, SearchOptions(threads=2)) for _ in range(2))
    assert first.offsets == second.offsets


def test_readme_example_prints_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    text = README.read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```\n\n    (.*?)\n", text, re.DOTALL)
    assert code is not None
    exec(code[1], {})
    assert capsys.readouterr().out.strip() == code[2]
