"""Properties of every plan: valid, between bound and baselines, optimal where brute force can say."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import replace

import pytest
from hard_problems import aligned, tiling
from hypothesis import given, settings
from hypothesis import strategies as st
from random_problems import WITNESS, find_optimum, make_problem, rows

from memory_planner import Buffer, DeadlineError, Plan, Problem, SearchOptions, native, solve, validate
from memory_planner.baselines import BASELINES, WITHOUT_PINS, plan_usmp_hill
from memory_planner.first_fit import ORDERS, place_in_order, place_slowly
from memory_planner.layout import build_layout
from memory_planner.options import switch_names

needs_core = pytest.mark.skipif(not native.is_available(), reason="needs the compiled planner core")


def offsets(plan: Plan) -> dict[str, int]:
    return {name: place.offset for name, place in plan.placements.items()}


@needs_core
@settings(max_examples=600)
@given(rows())
def test_solve_random_is_valid_and_no_baseline_is_better(items: list[tuple[int, ...]]) -> None:
    problem = make_problem(items)
    plan = solve(problem, 0.25)
    validate(problem, plan)
    layout = build_layout(problem.buffers)
    real = [problem.buffer_by_name[names[0]].size_bytes for names in layout.members]
    for name, baseline in BASELINES.items():
        if name == "usmp_hill":
            continue  # slow, and the solver asks it itself where no proof is at hand
        peak, offset = baseline(layout)
        assert peak == max(int(o) + s // layout.unit for o, s in zip(offset, real, strict=True))
        assert plan.total_bytes <= peak * layout.unit, name


@needs_core
@settings(max_examples=150)
@given(rows(largest=6))
def test_solve_tiny_is_optimal(items: list[tuple[int, ...]]) -> None:
    problem = make_problem(items)
    plan = solve(problem, 5.0)
    assert plan.total_bytes == find_optimum(problem)
    assert plan.proven


@needs_core
def test_solve_equal_rounded_sizes_are_not_twins() -> None:
    """Rounded to the common alignment all four are alike; the one without padding must not be forced to the top."""
    assert solve(make_problem([(0, 1, 1, 2), (0, 1, 1, 2), (0, 1, 1, 16), (0, 1, 2, 2)])).total_bytes == 7


@needs_core
@pytest.mark.parametrize("switch", [None, *switch_names()])
def test_solve_switch_keeps_the_optimum(switch: str | None) -> None:
    options = SearchOptions() if switch is None else replace(SearchOptions(), **{switch: False})
    plan = solve(make_problem(WITNESS), 5.0, options)
    assert plan.total_bytes == 8
    if switch != "exact":
        assert plan.lower_bound_bytes == 8
        assert plan.proven


@needs_core
@settings(max_examples=60)
@given(rows(largest=6), st.sampled_from(switch_names()))
def test_solve_any_switch_is_still_optimal(items: list[tuple[int, ...]], switch: str) -> None:
    problem = make_problem(items)
    plan = solve(problem, 0.3, replace(SearchOptions(), **{switch: False}))
    best = find_optimum(problem)
    assert plan.total_bytes >= best
    assert plan.lower_bound_bytes <= best
    if switch not in {"exact", "first_fits"}:
        assert plan.total_bytes == best


@needs_core
def test_solve_witness_is_above_its_load() -> None:
    plan = solve(make_problem(WITNESS))
    assert (plan.total_bytes, plan.lower_bound_bytes, plan.proven, plan.gap) == (8, 8, True, 0.0)


@needs_core
@settings(max_examples=40)
@given(rows(largest=16))
def test_solve_twice_and_with_threads_is_the_same(items: list[tuple[int, ...]]) -> None:
    problem = make_problem(items)
    first = solve(problem, 5.0)
    assert offsets(first) == offsets(solve(problem, 5.0))
    assert first.total_bytes == solve(problem, 5.0, SearchOptions(threads=2)).total_bytes


@needs_core
@settings(max_examples=100)
@given(rows(largest=10, aligned=False), st.data())
def test_solve_keeps_pins(items: list[tuple[int, ...]], data: st.DataObject) -> None:
    problem = make_problem(items)
    plan = solve(problem, 1.0)
    names = data.draw(st.sets(st.sampled_from([b.name for b in problem.buffers]), min_size=1))
    pinned = Problem(
        tuple(replace(b, offset=plan.offset_of(b.name)) if b.name in names else b for b in problem.buffers)
    )
    again = solve(pinned, 1.0, start=plan)
    validate(pinned, again)
    assert again.total_bytes <= plan.total_bytes
    fresh = solve(pinned, 1.0)
    assert fresh.total_bytes >= plan.lower_bound_bytes
    layout = build_layout(pinned.buffers)
    for name, baseline in BASELINES.items():
        if name not in WITHOUT_PINS:
            assert fresh.total_bytes <= baseline(layout)[0] * layout.unit, name


@needs_core
@settings(max_examples=60)
@given(rows(largest=5, aligned=False), st.data())
def test_solve_pins_tiny_is_optimal(items: list[tuple[int, ...]], data: st.DataObject) -> None:
    """One buffer is pinned high; the optimum is found by pinning all others through brute force over offsets."""
    items = [(a, b, min(c, 4)) for a, b, c, *_ in items]
    problem = make_problem(items)
    at = data.draw(st.integers(0, 8))
    pinned = Problem((replace(problem.buffers[0], offset=at), *problem.buffers[1:]))
    plan = solve(pinned, 5.0)
    reachable = plan.total_bytes
    assert plan.proven
    assert not fits_below(pinned, reachable - 1)


def fits_below(problem: Problem, capacity: int) -> bool:
    """Every offset of every buffer is tried."""
    buffers = sorted(problem.buffers, key=lambda b: b.offset is None)

    def extend(k: int, placed: list[tuple[Buffer, int]]) -> bool:
        if k == len(buffers):
            return True
        b = buffers[k]
        for at in [b.offset] if b.offset is not None else range(capacity - b.size_bytes + 1):
            if (
                at + b.size_bytes <= capacity
                and all(
                    o.upper <= b.lower or b.upper <= o.lower or at + b.size_bytes <= x or x + o.size_bytes <= at
                    for o, x in placed
                )
                and extend(k + 1, [*placed, (b, at)])
            ):
                return True
        return False

    return extend(0, [])


def test_solve_empty_problem_is_zero() -> None:
    plan = solve(Problem(()))
    assert (plan.total_bytes, plan.proven) == (0, True)


def test_solve_zero_sized_buffers_are_placed() -> None:
    plan = solve(Problem((Buffer("a", 0, 0, 1), Buffer("b", 0, 0, 1, offset=64))))
    assert offsets(plan) == {"a": 0, "b": 64}


@pytest.mark.parametrize("deadline_s", [0.0, 0.001, -1.0, float("inf")])
def test_solve_any_deadline_is_answered(deadline_s: float) -> None:
    assert solve(make_problem(WITNESS), deadline_s).total_bytes == 8


def test_solve_deadline_that_is_no_number_is_named() -> None:
    with pytest.raises(DeadlineError, match="nan"):
        solve(make_problem(WITNESS), float("nan"))


@needs_core
def test_solve_stop_answers_with_the_best_plan_so_far() -> None:
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    problem = tiling(random.Random(1), 800)
    begin = time.perf_counter()
    plan = solve(problem, 60.0, SearchOptions(exact=False), stop=stop)
    assert time.perf_counter() - begin < 20.0
    assert plan.total_bytes >= plan.lower_bound_bytes


@needs_core
@pytest.mark.parametrize("deadline_s", [0.0, 0.3])
def test_solve_short_deadline_is_no_worse_than_hill_climbing(deadline_s: float) -> None:
    problem = aligned(random.Random(3), 200)
    layout = build_layout(problem.buffers)
    assert solve(problem, deadline_s).total_bytes <= plan_usmp_hill(layout)[0] * layout.unit


@needs_core
@pytest.mark.parametrize(("count", "names"), [(200, list(ORDERS)), (1300, ["birth", "death"])])
def test_first_fit_is_the_same_without_the_core(count: int, names: list[str]) -> None:
    """In the second case the core forgets what has died."""
    layout = build_layout(aligned(random.Random(4), count, count).buffers)
    for name in names:
        for best_fit in (False, True):
            fast = place_in_order(layout, ORDERS[name](layout), best_fit)
            slow = place_slowly(layout, ORDERS[name](layout), best_fit)
            assert fast[0] == slow[0]
            assert (fast[1] == slow[1]).all()


def test_solve_alias_group_shares_one_storage() -> None:
    problem = Problem((Buffer("in", 8, 0, 3, group="g"), Buffer("out", 8, 2, 5, group="g"), Buffer("other", 4, 1, 4)))
    plan = solve(problem)
    assert plan.offset_of("in") == plan.offset_of("out")
    assert plan.total_bytes == 12


@needs_core
@pytest.mark.parametrize("deadline_s", [0.0, 0.05, 0.5])
def test_solve_deadline_returns_a_valid_plan(deadline_s: float) -> None:
    items = [((i * 37) % 100, (i * 37) % 100 + 5 + i % 40, 1 + (i * 7919) % 997) for i in range(1500)]
    problem = make_problem(items)
    begin = time.perf_counter()
    plan = solve(problem, deadline_s)
    assert time.perf_counter() - begin < deadline_s + 5.0
    validate(problem, plan)


def test_solve_without_core_uses_first_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "is_available", lambda: False)
    problem = make_problem(WITNESS)
    plan = solve(problem)
    validate(problem, plan)
    assert plan.total_bytes >= 8
    assert plan.lower_bound_bytes == 7
