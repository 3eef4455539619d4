"""Solve a problem: the entry point."""

from __future__ import annotations

import time

from memory_planner.options import SearchOptions
from memory_planner.plan import Attempt, Placement, Plan
from memory_planner.problem import Problem
from memory_planner.validation import validate

DEFAULT_DEADLINE_S = 10.0


def solve(
    problem: Problem, deadline_s: float = DEFAULT_DEADLINE_S, options: SearchOptions | None = None
) -> Plan:
    """Place every buffer with the smallest peak that can be found before the deadline."""
    del deadline_s, options
    start, start_cpu = time.perf_counter(), time.process_time()
    pool = problem.pools[0]
    placed: list[tuple[int, int, int, int]] = []
    offsets: dict[str, int] = {}
    for b in sorted(problem.buffers, key=lambda b: (-b.size_bytes, b.lower)):
        at = 0
        for low, high, begin, end in sorted(placed, key=lambda p: p[2]):
            if low < b.upper and b.lower < high:
                if begin >= at + b.size_bytes:
                    break
                at = max(at, -(-end // b.alignment) * b.alignment)
        placed.append((b.lower, b.upper, at, at + b.size_bytes))
        offsets[b.name] = at
    peak = max((p[3] for p in placed), default=0)
    times = sorted({b.lower for b in problem.buffers})
    load = max((sum(b.size_bytes for b in problem.buffers if b.lower <= t < b.upper) for t in times), default=0)
    plan = Plan(
        placements={b.name: Placement(pool.name, offsets[b.name]) for b in problem.buffers},
        peak_bytes={p.name: peak if p is pool else 0 for p in problem.pools},
        lower_bound_bytes=load,
        proven=load == peak,
        tried=(Attempt("first_fit_size", peak),),
        seconds=time.perf_counter() - start,
        cpu_seconds=time.process_time() - start_cpu,
    )
    validate(problem, plan)
    return plan
