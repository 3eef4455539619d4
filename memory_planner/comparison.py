"""Every solver on the same problem, in one table."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass

from memory_planner.baselines import BASELINES, WITHOUT_PINS
from memory_planner.layout import bound_load, build_layout
from memory_planner.native import Alarm, StoppedError
from memory_planner.options import SearchOptions
from memory_planner.problem import Problem
from memory_planner.solver import solve


@dataclass(frozen=True)
class Entry:
    """One solver's result; peak_bytes is None where it does not apply or did not end in time."""

    solver: str
    peak_bytes: int | None
    proven: bool
    cpu_seconds: float


@dataclass(frozen=True)
class Comparison:
    name: str
    buffer_count: int
    lower_bound_bytes: int
    entries: tuple[Entry, ...]


def compare_solvers(name: str, problem: Problem, deadline_s: float, options: SearchOptions) -> Comparison:
    """Run every baseline, then `solve`, last in the entries. The pool's size is not asked for."""
    unbounded = Problem(problem.buffers)
    layout = build_layout(unbounded.buffers)
    pinned = bool((layout.pin >= 0).any())
    entries = []
    for solver, plan in BASELINES.items():
        cpu = time.process_time()
        peak = None
        if layout.count and not (pinned and solver in WITHOUT_PINS):
            with Alarm(deadline_s) as alarm, suppress(StoppedError):
                peak = plan(layout, alarm)[0] * layout.unit
        entries.append(Entry(solver, peak, peak == bound_load(layout) * layout.unit, time.process_time() - cpu))
    best = solve(unbounded, deadline_s, options)
    entries.append(Entry("solve", best.total_bytes, best.proven, best.cpu_seconds))
    return Comparison(name, len(problem.buffers), best.lower_bound_bytes, tuple(entries))


def format_table(comparisons: list[Comparison]) -> str:
    """Peaks over the lower bound, a row a file, * where proven; the last row is the geometric mean."""
    if not comparisons:
        return ""
    solvers = [entry.solver for entry in comparisons[0].entries]
    rows = [["file", "n", "bound", *solvers, "cpu_s"]]
    products = dict.fromkeys(solvers, 1.0)
    for item in comparisons:
        row = [item.name, str(item.buffer_count), str(item.lower_bound_bytes)]
        for entry in item.entries:
            ratio = None if entry.peak_bytes is None else entry.peak_bytes / max(1, item.lower_bound_bytes)
            row.append("-" if ratio is None else f"{ratio:.3f}{'*' if entry.proven else ''}")
            products[entry.solver] *= ratio or 1.0
        rows.append([*row, f"{item.entries[-1].cpu_seconds:.3f}"])
    if len(comparisons) > 1:
        means = [f"{products[solver] ** (1 / len(comparisons)):.3f}" for solver in solvers]
        rows.append(["geomean", "", "", *means, ""])
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
