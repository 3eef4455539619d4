"""Improve a first fit by placing in other orders near the best ones known."""

from __future__ import annotations

import time

import numpy as np

from memory_planner.first_fit import count_conflicts, find_crowding, place_in_order
from memory_planner.incumbent import Incumbent
from memory_planner.native import Alarm, Float64s


class OrderSearch:
    """Even steps sort by size^a * span^b * conflicts^c * crowding^d with exponents near the best so far; odd ones take
    that order and move what lies at its peak to a random earlier place.
    """

    def __init__(self, best: Incumbent) -> None:
        layout = best.layout
        self.best = best
        self.rng = np.random.default_rng(0)
        self.features = np.log(
            1.0 + np.stack([layout.size, layout.upper - layout.lower, count_conflicts(layout), find_crowding(layout)])
        )
        self.weights = np.array([1.0, 0.0, 0.0, 0.0])
        self.score = -(self.weights @ self.features)
        self.peak = 2**62
        self.offset = np.zeros(0, np.int64)
        self.steps = 0

    def run(self, alarm: Alarm, steps: float = float("inf")) -> None:
        """Go on until the bound is met or so many steps are over.

        Raises:
            StoppedError: the alarm rang.
        """
        cpu = time.process_time()
        end = self.steps + steps
        while not self.best.closed and self.steps < end:
            weights, score = self.propose() if self.steps else (self.weights, self.score)
            self.steps += 1
            order = np.argsort(score, kind="stable").astype(np.int32)
            peak, offset = place_in_order(self.best.layout, order, False, alarm)
            if peak > self.peak:
                continue
            self.weights, self.score, self.peak, self.offset = weights, score, peak, offset
            if peak < self.best.peak:
                self.best.offer("local_search", offset, f"step {self.steps}", time.process_time() - cpu)

    def propose(self) -> tuple[Float64s, Float64s]:
        """(exponents, what to sort by)."""
        rng, size = self.rng, self.best.layout.size
        if self.steps % 2 == 0:
            width = (0.05, 0.2, 0.8)[self.steps // 2 % 3]
            weights = self.weights + rng.normal(0.0, width, len(self.weights))
            return weights, -(weights @ self.features)
        top = np.flatnonzero(self.offset + size > self.peak - max(1, (self.peak - self.best.bound) // 4))
        moved = top if rng.random() < 0.5 else top[rng.random(len(top)) < 0.5]
        score = self.score.copy()
        score[moved] -= rng.exponential(0.5, len(moved))
        return self.weights, score
