"""Smaller problems before offsets: what splitting a long-lived buffer saves, and sweeps that re-use plans."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from memory_planner.errors import UnknownNameError
from memory_planner.options import SearchOptions
from memory_planner.plan import Plan
from memory_planner.problem import Buffer, Problem
from memory_planner.solver import find_crowd, solve


@dataclass(frozen=True)
class Split:
    """One buffer moved between two storages in the middle of its life.

    Args:
        moved_bytes: what the program must copy at `time`.
        saved_bytes: by how much the peak falls.
    """

    name: str
    time: int
    moved_bytes: int
    saved_bytes: int
    problem: Problem
    plan: Plan


def split_buffer(problem: Problem, name: str, at: int) -> Problem:
    """Cut a buffer's life at a time into `name` and `name@at`; both are alive during [at, at + 1), for the copy.

    Raises:
        UnknownNameError: no such buffer, or it is not alive on both sides of the time.
    """
    result: list[Buffer] = []
    for b in problem.buffers:
        if b.name != name:
            result.append(b)
        elif b.lower < at < b.upper - 1 and b.offset is None and b.group is None:
            result += [replace(b, upper=at + 1), replace(b, name=f"{name}@{at}", lower=at)]
        else:
            raise UnknownNameError(f"buffer '{name}' [{b.lower}, {b.upper}) cannot be split at {at}")
    if len(result) == len(problem.buffers):
        raise UnknownNameError(f"no buffer '{name}' to split")
    return Problem(tuple(result), problem.pools)


def find_split(problem: Problem, deadline_s: float, options: SearchOptions | None = None) -> Split | None:
    """The split of one buffer that lowers the peak most, None where none does.

    A split cannot lower the load, only the packing above it: an instance at its bound is returned at once.
    """
    until = time.perf_counter() + deadline_s
    before = solve(problem, deadline_s / 4, options)
    if before.proven and before.total_bytes == find_load(problem):
        return None
    best: Split | None = None
    candidates = [b for b in problem.buffers if b.upper - b.lower > 2 and b.offset is None and b.group is None]
    candidates.sort(key=lambda b: (-(b.upper - b.lower), b.size_bytes, b.name))
    for b in candidates:
        times = sorted({c.lower for c in problem.buffers if b.lower < c.lower < b.upper - 1})
        for at in times[:: max(1, len(times) // 8)]:
            if time.perf_counter() > until:
                return best
            cut = split_buffer(problem, b.name, at)
            plan = solve(cut, min(0.2, deadline_s / 8), options)
            saved = before.total_bytes - plan.total_bytes
            if saved > 0 and (best is None or saved > best.saved_bytes):
                best = Split(b.name, at, b.size_bytes, saved, cut, plan)
                if plan.total_bytes == find_load(problem):
                    return best
    return best


def find_load(problem: Problem) -> int:
    return sum(problem.buffer_by_name[name].size_bytes for name in find_crowd(problem)[1])


def pin_buffers(problem: Problem, plan: Plan, names: Sequence[str]) -> Problem:
    """The problem with some buffers held where a plan has put them, for planning again around them."""
    chosen = set(names)
    for name in chosen:
        if name not in plan.placements:
            raise UnknownNameError(f"no buffer '{name}' in the plan to pin")
    buffers = tuple(
        replace(b, offset=plan.placements[b.name].offset, pools=(plan.placements[b.name].pool,))
        if b.name in chosen
        else b
        for b in problem.buffers
    )
    return Problem(buffers, problem.pools)


def solve_sweep(
    problem: Problem, name: str, sizes: Sequence[int], deadline_s: float, options: SearchOptions | None = None
) -> dict[int, Plan]:
    """Plans for several sizes of one buffer (a cache), largest first; each starts from the one before, whose offsets
    stay valid when the buffer shrinks.

    Args:
        deadline_s: for each size.
    """
    if name not in problem.buffer_by_name:
        raise UnknownNameError(f"no buffer '{name}' to sweep")
    plans: dict[int, Plan] = {}
    last: Plan | None = None
    for size in sorted(set(sizes), reverse=True):
        buffers = tuple(replace(b, size_bytes=size) if b.name == name else b for b in problem.buffers)
        last = solve(Problem(buffers, problem.pools), deadline_s, options, last)
        plans[size] = last
    return {size: plans[size] for size in sizes}
