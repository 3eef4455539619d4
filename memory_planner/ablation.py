"""What each technique buys: the solve with one switched off at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace

from memory_planner.options import SearchOptions, switch_names
from memory_planner.problem import Problem
from memory_planner.solver import solve


@dataclass(frozen=True)
class Run:
    """One solve: cpu_seconds until the proof, or peak over bound where there was none."""

    cpu_seconds: float
    proven: bool
    ratio: float

    def __str__(self) -> str:
        return f"{self.cpu_seconds:.3f}" if self.proven else f"x{self.ratio:.3f}"


def measure(problem: Problem, deadline_s: float, options: SearchOptions) -> Run:
    plan = solve(Problem(problem.buffers), deadline_s, options)
    return Run(plan.cpu_seconds, plan.proven, plan.total_bytes / max(1, plan.lower_bound_bytes))


def measure_switches(
    problems: dict[str, Problem], deadline_s: float, options: SearchOptions
) -> dict[str, dict[str, Run]]:
    """Technique -> problem -> run with it off; the first row, "everything on", has none off."""
    rows = {"everything on": {name: measure(p, deadline_s, options) for name, p in problems.items()}}
    for switch in switch_names():
        less = replace(options, **{switch: False})
        rows[f"without {switch}"] = {name: measure(p, deadline_s, less) for name, p in problems.items()}
    return rows


def format_rows(rows: dict[str, dict[str, Run]]) -> str:
    names = list(next(iter(rows.values())))
    lines = ["| technique | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    lines += [f"| {title} | " + " | ".join(str(run[name]) for name in names) + " |" for title, run in rows.items()]
    return "\n".join(lines)
