"""The answer: where every buffer lies, how good that is, and how it was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Placement:
    """pool: its name; offset: bytes from the pool's base."""

    pool: str
    offset: int


@dataclass(frozen=True)
class Attempt:
    """One thing that was tried.

    Args:
        method: name of the solver or step.
        peak_bytes: the peak it reached; None where it found no plan.
        note: what it showed, for a person.
        cpu_seconds: processor time it took.
    """

    method: str
    peak_bytes: int | None
    note: str = ""
    cpu_seconds: float = 0.0


@dataclass(frozen=True)
class Plan:
    """Offsets with their quality.

    Args:
        placements: buffer name -> pool and offset, in the problem's order.
        peak_bytes: pool name -> highest end of a buffer in it; pools that hold nothing have 0.
        lower_bound_bytes: no plan has a smaller total_bytes.
        proven: the objective is proven smallest: the peak for one pool, the cost for several.
        cost: access cost over all pools, sum of size * (reads * read_cost + writes * write_cost).
        cost_lower_bound: no plan that fits the pools costs less.
        tried: what was tried, with what peak.
        seconds, cpu_seconds: wall and processor time of the whole solve.
    """

    placements: Mapping[str, Placement]
    peak_bytes: Mapping[str, int]
    lower_bound_bytes: int
    proven: bool
    cost: float = 0.0
    cost_lower_bound: float = 0.0
    tried: tuple[Attempt, ...] = ()
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    @property
    def total_bytes(self) -> int:
        """The peaks of all pools added up; for one pool, the peak."""
        return sum(self.peak_bytes.values())

    @property
    def gap(self) -> float:
        """(total - bound) / bound; 0 where proven."""
        if self.proven or self.total_bytes <= self.lower_bound_bytes:
            return 0.0
        return (self.total_bytes - self.lower_bound_bytes) / max(1, self.lower_bound_bytes)

    @property
    def offsets(self) -> dict[str, int]:
        """Buffer name -> bytes from its pool's base."""
        return {name: place.offset for name, place in self.placements.items()}

    def offset_of(self, name: str) -> int:
        return self.placements[name].offset
