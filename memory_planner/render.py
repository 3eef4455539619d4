"""Draw a plan: address against time."""

from __future__ import annotations

from memory_planner.plan import Plan
from memory_planner.problem import Problem


def svg(problem: Problem, plan: Plan) -> str:
    """Draw every pool as an SVG: address upward, time to the right, the peak and what is alive at it."""
    raise NotImplementedError
