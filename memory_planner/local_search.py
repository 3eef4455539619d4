"""Improve a first fit by moving the buffers at its peak earlier in the order."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from memory_planner.first_fit import place_in_order
from memory_planner.native import Alarm

if TYPE_CHECKING:
    from memory_planner.anytime import Incumbent


def improve_order(best: Incumbent, alarm: Alarm) -> None:
    """Re-order and place again until the bound is met or the alarm rings.

    The order is the offsets of the incumbent, which first fit reproduces or betters; each step moves what lies at
    the peak, with some of what lies right below it, to a random earlier place.
    """
    layout = best.layout
    rng = np.random.default_rng(0)
    key = best.offset.astype(np.float64)
    peak = best.peak
    cpu = time.process_time()
    steps = 0
    while not best.closed and not alarm.rang:
        steps += 1
        trial = key.copy()
        top = np.flatnonzero(best.offset + layout.size > peak - max(1, (peak - best.bound) // 2))
        moved = top if len(top) == 1 or rng.random() < 0.5 else top[rng.random(len(top)) < 0.5]
        trial[moved] *= rng.random(len(moved))
        if rng.random() < 0.5:
            trial += rng.random(len(trial)) * peak * 0.02
        new_peak, offset = place_in_order(layout, np.lexsort((-layout.size, trial)).astype(np.int32))
        if new_peak <= peak:
            key, peak = offset.astype(np.float64), new_peak
            if new_peak < best.peak:
                best.offer("local_search", offset, f"step {steps}", time.process_time() - cpu)
            else:
                best.offset = offset
