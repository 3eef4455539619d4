"""Place buffers in memory: offsets, peak, lower bound, and whether the peak is proven smallest.

    from memory_planner import Buffer, Problem, solve
    plan = solve(Problem((Buffer("a", 64, 0, 2), Buffer("b", 32, 1, 3))))
    plan.placements["b"].offset, plan.total_bytes, plan.lower_bound_bytes, plan.proven

Knows buffers, lifetimes and pools; nothing of tensors, boards or C.
"""

from memory_planner.errors import (
    AlignmentError,
    CapacityError,
    ContradictionError,
    CsvError,
    DeadlineError,
    DuplicateNameError,
    GraphError,
    InvalidPlanError,
    LifetimeError,
    MissingLibraryError,
    OverflowSizeError,
    OversizeError,
    PinConflictError,
    PlannerError,
    SizeError,
    UnknownNameError,
)
from memory_planner.options import SearchOptions
from memory_planner.plan import Attempt, Placement, Plan
from memory_planner.problem import Buffer, Pool, Problem
from memory_planner.solver import solve
from memory_planner.validation import validate

__version__ = "0.1.0"

__all__ = [
    "AlignmentError",
    "Attempt",
    "Buffer",
    "CapacityError",
    "ContradictionError",
    "CsvError",
    "DeadlineError",
    "DuplicateNameError",
    "GraphError",
    "InvalidPlanError",
    "LifetimeError",
    "MissingLibraryError",
    "OverflowSizeError",
    "OversizeError",
    "PinConflictError",
    "Placement",
    "Plan",
    "PlannerError",
    "Pool",
    "Problem",
    "SearchOptions",
    "SizeError",
    "UnknownNameError",
    "solve",
    "validate",
]
