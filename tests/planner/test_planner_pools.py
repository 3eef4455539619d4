"""Several pools, operator orders, splits and sweeps."""

from __future__ import annotations

import random
import time
from itertools import permutations, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_problems import WITNESS, make_problem, rows

from memory_planner import Buffer, CapacityError, GraphError, Pool, Problem, native, solve, validate
from memory_planner.graph import Graph, Liveness, Operator, Tensor, build_problem, order_operators
from memory_planner.reduction import find_split, pin_buffers, solve_sweep
from memory_planner.render import svg

FAST = Pool("dtcm", 24, read_cost=1, write_cost=1)
SLOW = Pool("sram", None, read_cost=3, write_cost=5)


@settings(max_examples=80)
@given(rows(largest=6, aligned=False))
def test_solve_two_pools_is_cheapest(items: list[tuple[int, ...]]) -> None:
    items = [(a, b, 1 + c % 20) for a, b, c, *_ in items]
    problem = Problem(make_problem(items).buffers, (FAST, SLOW))
    plan = solve(problem, 5.0)
    validate(problem, plan)
    best = None
    for choice in product((FAST, SLOW), repeat=len(items)):
        cost = sum(b.size_bytes * (p.read_cost + p.write_cost) for b, p in zip(problem.buffers, choice, strict=True))
        if best is not None and cost >= best:
            continue
        inside = [b for b, p in zip(problem.buffers, choice, strict=True) if p is FAST]
        if solve(Problem(tuple(inside)), 1.0).total_bytes <= 24:
            best = cost
    if native.is_available():
        assert plan.proven
        assert plan.cost == best
    assert plan.cost >= plan.cost_lower_bound


def test_solve_pools_too_small_is_named() -> None:
    problem = Problem((Buffer("a", 8, 0, 2), Buffer("b", 8, 1, 3)), (Pool("p", 8), Pool("q", 4)))
    with pytest.raises(CapacityError, match="4 B over"):
        solve(problem, 1.0)


def test_solve_pools_keeps_what_is_allowed() -> None:
    problem = Problem((Buffer("a", 8, 0, 2, pools=("sram",)), Buffer("b", 8, 1, 3)), (FAST, SLOW))
    plan = solve(problem)
    assert plan.placements["a"].pool == "sram"
    assert plan.placements["b"].pool == "dtcm"


def test_solve_pins_at_one_offset_lie_in_two_pools() -> None:
    pools = (Pool("dtcm", 8, read_cost=1), Pool("sram", 8, read_cost=3))
    problem = Problem((Buffer("a", 8, 0, 2, offset=0), Buffer("b", 8, 0, 2, offset=0, reads=9)), pools)
    plan = solve(problem, 1.0)
    assert (plan.placements["a"].pool, plan.placements["b"].pool, plan.proven) == ("sram", "dtcm", True)


def test_solve_tight_pools_are_filled_and_the_bound_is_near() -> None:
    """Three pools with a tenth more room than what is alive, sizes off their alignment."""
    rng = random.Random(5)
    buffers = []
    for i in range(80):
        lower = rng.randrange(50)
        reads, writes = rng.randrange(10), rng.randrange(1, 4)
        upper = lower + rng.randrange(1, 12)
        buffers.append(Buffer(f"b{i}", rng.randrange(1, 4096), lower, upper, 8, reads=reads, writes=writes))
    load = solve(Problem(tuple(buffers)), 0.1).lower_bound_bytes
    pools = (
        Pool("dtcm", load // 4, 8, 1, 1),
        Pool("sram", load // 2, 8, 2, 2),
        Pool("psram", load * 35 // 100, 32, 8, 12),
    )
    problem = Problem(tuple(buffers), pools)
    plan = solve(problem, 3.0)
    assert plan.cost <= 1.15 * plan.cost_lower_bound
    again = solve(problem, 0.0, start=plan)
    assert again.cost <= plan.cost


@settings(max_examples=100)
@given(st.data())
def test_order_operators_is_optimal(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 6))
    tensors = [Tensor("x", data.draw(st.integers(0, 9)))]
    operators = []
    for k in range(count):
        inputs = data.draw(st.sets(st.sampled_from([t.name for t in tensors]), min_size=1, max_size=2))
        tensors.append(Tensor(f"t{k}", data.draw(st.integers(0, 9)), keep=data.draw(st.booleans())))
        operators.append(Operator(f"o{k}", tuple(sorted(inputs)), (f"t{k}",), data.draw(st.integers(0, 3))))
    graph = Graph(tuple(tensors), tuple(operators))
    schedule = order_operators(graph)
    live = Liveness(graph)
    peaks = []
    for order in permutations(range(count)):
        done = 0
        for k in order:
            if live.needs[k] & ~done:
                break
            done |= 1 << k
        else:
            peaks.append(live.peak(order))
    assert schedule.proven
    assert schedule.peak_bytes == min(peaks)
    assert live.peak(order_operators(graph, states=0).order) >= min(peaks)
    problem = build_problem(graph, schedule.order)
    assert solve(problem, 1.0).lower_bound_bytes <= schedule.peak_bytes or schedule.peak_bytes == 0


def test_build_problem_inplace_saves() -> None:
    tensors = (Tensor("x", 8), Tensor("y", 8), Tensor("z", 4, keep=True))
    operators = (Operator("relu", ("x",), ("y",), inplace=(("y", "x"),)), Operator("pool", ("y",), ("z",)))
    graph = Graph(tensors, operators)
    assert solve(build_problem(graph, inplace=False)).total_bytes == 16
    assert solve(build_problem(graph)).total_bytes == 12


def test_build_problem_inplace_gives_an_input_to_one_output_and_keeps_what_is_kept() -> None:
    split = Operator("split", ("x",), ("y", "z"), inplace=(("y", "x"), ("z", "x")))
    graph = Graph((Tensor("x", 8), Tensor("y", 8, keep=True), Tensor("z", 8, keep=True)), (split,))
    assert solve(build_problem(graph)).total_bytes == 16
    relu = Operator("relu", ("x",), ("y",), inplace=(("y", "x"),))
    graph = Graph((Tensor("x", 8, keep=True), Tensor("y", 8, keep=True)), (relu,))
    assert solve(build_problem(graph)).total_bytes == 16


@pytest.mark.parametrize(
    ("tensors", "operators", "order", "says"),
    [
        ("xy", (Operator("a", ("y",), ("x",)), Operator("b", ("x",), ("y",))), None, "cycle, or out of order"),
        ("xy", (Operator("a", ("x",), ("y", "y")),), None, "written twice"),
        ("xy", (Operator("a", ("x",), ("y",), inplace=(("y", "q"),)),), None, "in place of 'q'"),
        ("xyz", (Operator("a", ("x",), ("y",)), Operator("b", ("y",), ("z",))), [1, 0], "'b' before 'a'"),
        ("xy", (Operator("a", ("x",), ("y",)),), [0, 0], "every operator once"),
    ],
)
def test_graph_broken_is_named(
    tensors: str, operators: tuple[Operator, ...], order: list[int] | None, says: str
) -> None:
    with pytest.raises(GraphError, match=says):
        build_problem(Graph(tuple(Tensor(name, 1) for name in tensors), operators), order)


def test_order_operators_long_graph_ends() -> None:
    """Hundreds of operators, dozens of them ready at any time: the beam narrows instead of taking minutes."""
    rng = random.Random(1)
    tensors, operators = [Tensor("x", 100)], []
    for k in range(400):
        inputs = tuple({rng.choice(tensors[-20:]).name for _ in range(2)})
        tensors.append(Tensor(f"t{k}", rng.randint(1, 1000)))
        operators.append(Operator(f"o{k}", inputs, (f"t{k}",)))
    cpu = time.process_time()
    schedule = order_operators(Graph(tuple(tensors), tuple(operators)), states=2000)
    assert time.process_time() - cpu < 20.0
    assert schedule.saved_bytes > 0


@pytest.mark.skipif(not native.is_available(), reason="needs the compiled planner core")
def test_find_split_lowers_the_witness_to_its_load() -> None:
    split = find_split(make_problem([(10 * a, 10 * b, c) for a, b, c in WITNESS]), 5.0)
    assert split is not None
    assert split.saved_bytes == 1


def test_solve_sweep_is_monotone_and_pins_hold() -> None:
    problem = make_problem([(0, 9, 4), (0, 3, 5), (2, 6, 7), (5, 9, 6)])
    plans = solve_sweep(problem, "b0", [2, 4, 8], 1.0)
    assert [plans[size].total_bytes for size in (2, 4, 8)] == sorted(p.total_bytes for p in plans.values())
    pinned = pin_buffers(problem, plans[4], ["b1", "b2"])
    again = solve(pinned, 1.0)
    assert again.offset_of("b1") == plans[4].offset_of("b1")


def test_svg_names_the_peak() -> None:
    problem = make_problem(WITNESS)
    text = svg(problem, solve(problem))
    assert text.startswith("<svg")
    assert "peak" in text
    assert "at time" in text
    assert text == svg(problem, solve(problem))
