"""Improve a first fit where the exact search is out of reach: other orders near the best ones known."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from memory_planner.first_fit import count_conflicts, find_crowding, place_in_order
from memory_planner.native import Alarm

if TYPE_CHECKING:
    from memory_planner.incumbent import Incumbent


def improve_order(best: Incumbent, alarm: Alarm) -> None:
    """Place in other orders until the bound is met or the alarm rings.

    Even steps sort by size^a * span^b * conflicts^c * crowding^d with exponents near the best so far; odd ones take
    that order and move what lies at its peak to a random earlier place.
    """
    layout = best.layout
    rng = np.random.default_rng(0)
    features = np.log(
        1.0 + np.stack([layout.size, layout.upper - layout.lower, count_conflicts(layout), find_crowding(layout)])
    )
    weights = np.array([1.0, 0.0, 0.0, 0.0])
    score = -(weights @ features)
    peak, offset = place_in_order(layout, np.argsort(score, kind="stable").astype(np.int32))
    cpu = time.process_time()
    step = 0
    while not best.closed and not alarm.rang:
        step += 1
        trial_weights = weights
        if step % 2 == 0:
            width = (0.05, 0.2, 0.8)[step // 2 % 3]
            trial_weights = weights + rng.normal(0.0, width, len(weights))
            trial = -(trial_weights @ features)
        else:
            top = np.flatnonzero(offset + layout.size > peak - max(1, (peak - best.bound) // 4))
            moved = top if rng.random() < 0.5 else top[rng.random(len(top)) < 0.5]
            trial = score.copy()
            trial[moved] -= rng.exponential(0.5, len(moved))
        new_peak, new_offset = place_in_order(layout, np.argsort(trial, kind="stable").astype(np.int32))
        if new_peak > peak:
            continue
        weights, score, peak, offset = trial_weights, trial, new_peak, new_offset
        if new_peak < best.peak:
            best.offer("local_search", offset, f"step {step}", time.process_time() - cpu)
