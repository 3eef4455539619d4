"""Named errors. A PlannerError is the caller's to fix; anything else is a defect of this package."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memory_planner.plan import Plan


class PlannerError(ValueError):
    """The input cannot be planned; the message says what, where and what to try."""


class SizeError(PlannerError):
    """A size or cost is negative or not a whole number."""


class OverflowSizeError(PlannerError):
    """A number, or the sum of all sizes, reaches 2^63."""


class LifetimeError(PlannerError):
    """A lifetime is empty or reversed; lifetimes are half-open, [lower, upper)."""


class AlignmentError(PlannerError):
    """An alignment is below 1, or a pinned offset is not a multiple of it."""


class DuplicateNameError(PlannerError):
    """Two buffers, or two pools, have one name."""


class UnknownNameError(PlannerError):
    """A buffer names a pool, or a graph names a tensor, that does not exist."""


class OversizeError(PlannerError):
    """A buffer is larger than every pool it may lie in."""


class PinConflictError(PlannerError):
    """Two pinned buffers overlap in time and address, or a pin leaves its pool."""


class ContradictionError(PlannerError):
    """The members of an alias group contradict one another."""


class DeadlineError(PlannerError):
    """A deadline is not a number."""


class GraphError(PlannerError):
    """An operator graph is cyclic or broken."""


class CsvError(PlannerError):
    """A problem file cannot be read; the message begins with file and line.

    Args:
        line: 1-based line in the file; 0 where the file as a whole is at fault.
    """

    def __init__(self, path: str, line: int, reason: str) -> None:
        super().__init__(f"{path}:{line}: {reason}" if line else f"{path}: {reason}")
        self.path = path
        self.line = line


class MissingLibraryError(PlannerError):
    """The compiled core was asked for and is not there."""


class InvalidPlanError(PlannerError):
    """A plan breaks a rule of its problem."""


class CapacityError(PlannerError):
    """The buffers do not fit the pools.

    Args:
        needed_bytes: what the best plan found needs.
        available_bytes: what the pool has.
        impossible: True where no plan can fit (the lower bound is above the capacity).
        plan: the best plan found with the pool's size lifted; None where there is none.
    """

    def __init__(
        self, message: str, needed_bytes: int, available_bytes: int, impossible: bool, plan: Plan | None
    ) -> None:
        super().__init__(message)
        self.needed_bytes = needed_bytes
        self.available_bytes = available_bytes
        self.impossible = impossible
        self.plan = plan
