"""The best packing so far."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from memory_planner.layout import Layout
from memory_planner.native import Int64s
from memory_planner.plan import Attempt


@dataclass
class Incumbent:
    """The best packing so far, the best bound, and what was tried. Units throughout."""

    layout: Layout
    bound: int
    peak: int = 2**62
    offset: Int64s = field(default_factory=lambda: np.zeros(0, np.int64))
    tried: list[Attempt] = field(default_factory=list)
    baselines_asked: bool = False
    capacity: int | None = None  # the pool's size, where reaching it is enough

    @property
    def closed(self) -> bool:
        return self.peak <= self.bound

    @property
    def fits(self) -> bool:
        """The pool's size is reached, where that is enough."""
        return self.capacity is not None and self.peak <= self.capacity

    def offer(self, method: str, offset: Int64s, note: str, cpu: float) -> bool:
        """Take a packing if it is better; the attempt is written down either way."""
        peak = self.layout.peak(offset)
        self.tried.append(Attempt(method, peak * self.layout.unit, note, cpu))
        if peak >= self.peak:
            return False
        self.peak, self.offset = peak, offset
        return True

    def raise_bound(self, bound: int, method: str, cpu: float) -> None:
        if bound > self.bound:
            self.bound = bound
            note = f"nothing below {bound * self.layout.unit}"
            self.tried.append(Attempt(method, None, note, cpu))
