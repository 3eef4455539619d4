"""Solve a problem: the entry point."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import replace
from threading import Event
from types import MappingProxyType

from memory_planner.anytime import minimise_peak
from memory_planner.errors import CapacityError, DeadlineError
from memory_planner.incumbent import Incumbent
from memory_planner.layout import build_layout, check_pins, read_start
from memory_planner.native import Alarm
from memory_planner.options import SearchOptions
from memory_planner.plan import Placement, Plan
from memory_planner.pools import solve_pools
from memory_planner.problem import Pool, Problem
from memory_planner.validation import validate

DEFAULT_DEADLINE_S = 10.0


def solve(
    problem: Problem,
    deadline_s: float = DEFAULT_DEADLINE_S,
    options: SearchOptions | None = None,
    start: Plan | None = None,
    stop: Event | None = None,
) -> Plan:
    """Place every buffer; with one pool at the smallest peak, with several at the smallest access cost.

    Args:
        deadline_s: wall time; the best valid plan so far is the answer when it passes. Infinity waits for the proof.
        start: a plan to improve on, of this problem or of one with the same names; used where it is still valid.
        stop: when set, from a signal handler or another thread, the best valid plan so far is the answer.
    Returns:
        A plan that has passed `validate`.
    Raises:
        CapacityError: the pools are too small, or no fitting plan was found in time; carries the best plan.
        DeadlineError: the deadline is not a number.
    """
    if math.isnan(deadline_s):
        raise DeadlineError(f"deadline is {deadline_s}: must be a number of seconds")
    options = options or SearchOptions()
    begin, begin_cpu = time.perf_counter(), time.process_time()
    alarm = Alarm(deadline_s, stop)
    if len(problem.pools) == 1:
        plan = solve_single(problem, alarm, options, start)
    else:
        plan = solve_pools(problem, alarm, options, start)
    plan = replace(plan, seconds=time.perf_counter() - begin, cpu_seconds=time.process_time() - begin_cpu)
    if len(problem.pools) == 1:
        check_capacity(problem, plan)
    validate(problem, plan)
    return plan


def solve_single(problem: Problem, alarm: Alarm, options: SearchOptions, start: Plan | None) -> Plan:
    pool = problem.pools[0]
    layout = build_layout(problem.buffers, pool.alignment)
    check_pins(layout)
    enough = pool.size_bytes // layout.unit if options.until_it_fits and pool.size_bytes is not None else None
    best = minimise_peak(layout, alarm, options, read_start(layout, start, pool.name), enough)
    offsets = layout.name_offsets(best.offset)
    return make_plan(problem, pool, offsets, best)


def make_plan(problem: Problem, pool: Pool, offsets: Mapping[str, int], best: Incumbent) -> Plan:
    peak = max((offsets[b.name] + b.size_bytes for b in problem.buffers), default=0)
    bound = best.bound * best.layout.unit
    bound = max([bound, *(b.offset for b in problem.buffers if b.offset is not None)])
    cost = sum(b.size_bytes * (b.reads * pool.read_cost + b.writes * pool.write_cost) for b in problem.buffers)
    return Plan(
        placements=MappingProxyType({b.name: Placement(pool.name, offsets[b.name]) for b in problem.buffers}),
        peak_bytes=MappingProxyType({pool.name: peak}),
        lower_bound_bytes=bound,
        proven=peak == bound,
        cost=cost,
        cost_lower_bound=cost,
        tried=tuple(best.tried),
    )


def check_capacity(problem: Problem, plan: Plan) -> None:
    """Refuse a plan that is larger than its only pool."""
    pool = problem.pools[0]
    peak = plan.total_bytes
    if pool.size_bytes is None or peak <= pool.size_bytes:
        return
    impossible = plan.lower_bound_bytes > pool.size_bytes
    unbounded = replace(problem, pools=(replace(pool, size_bytes=None),))
    validate(unbounded, plan)
    time_at, names = find_crowd(problem)
    why = (
        f"at least {plan.lower_bound_bytes} B are needed"
        if impossible
        else f"the lower bound is {plan.lower_bound_bytes} B: a longer deadline may still find a fit"
    )
    raise CapacityError(
        f"buffers do not fit pool '{pool.name}': need {peak} B, has {pool.size_bytes} B "
        f"({peak - pool.size_bytes} B over); {why}\n"
        f"  at: time {time_at}, where {len(names)} buffers are live: {', '.join(names[:8])}"
        f"{', ...' if len(names) > 8 else ''}\n"
        "  try: shorten or split a long-lived buffer, re-order the operators, or allow a second pool",
        peak,
        pool.size_bytes,
        impossible,
        plan,
    )


def find_crowd(problem: Problem) -> tuple[int, list[str]]:
    """(time, names): when most bytes are alive, and whose, largest first."""
    events: dict[int, int] = {}
    for b in problem.buffers:
        events[b.lower] = events.get(b.lower, 0) + b.size_bytes
        events[b.upper] = events.get(b.upper, 0) - b.size_bytes
    best, best_time, level = -1, 0, 0
    for at in sorted(events):
        level += events[at]
        if level > best:
            best, best_time = level, at
    live = [b for b in problem.buffers if b.lower <= best_time < b.upper]
    return best_time, [b.name for b in sorted(live, key=lambda b: (-b.size_bytes, b.name))]
