"""Several pools: which buffer lies where, by access cost, under every pool's size."""

from __future__ import annotations

from memory_planner.options import SearchOptions
from memory_planner.plan import Plan
from memory_planner.problem import Problem


def solve_pools(problem: Problem, deadline: float, options: SearchOptions) -> Plan:
    raise NotImplementedError
