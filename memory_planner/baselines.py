"""Planners of other tools, re-made from their published behaviour, as named yardsticks."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Protocol

import numpy as np

from memory_planner.first_fit import ORDERS, count_conflicts, order_last_added, place_in_order, sort_by
from memory_planner.layout import Layout
from memory_planner.native import Alarm, Int32s, Int64s, StoppedError

Result = tuple[int, Int64s]


class Baseline(Protocol):
    """Raises StoppedError when its alarm, which must be entered, rings."""

    def __call__(self, layout: Layout, alarm: Alarm | None = None) -> Result: ...


def overlaps(layout: Layout, b: int) -> Int64s:
    """Indices of the storages alive together with b."""
    hit = (layout.lower < layout.upper[b]) & (layout.lower[b] < layout.upper)
    hit[b] = False
    return np.flatnonzero(hit)


def check(alarm: Alarm | None) -> None:
    if alarm is not None and alarm.rang:
        raise StoppedError


def plan_tflm(layout: Layout, alarm: Alarm | None = None) -> Result:
    """TensorFlow Lite Micro's GreedyMemoryPlanner: by size, equal sizes last added first, first gap."""
    return place_in_order(layout, order_last_added(layout), False, alarm)


def plan_executorch(layout: Layout, alarm: Alarm | None = None) -> Result:
    """ExecuTorch's greedy: shared objects by size; a buffer reuses one, or lies above what overlaps it there."""
    lower, upper, size, alignment = (x.tolist() for x in (layout.lower, layout.upper, layout.size, layout.alignment))
    bases: list[int] = []
    sizes: list[int] = []
    held: list[list[tuple[int, int]]] = []
    result = [0] * layout.count
    for b in order_last_added(layout).tolist():
        check(alarm)
        spot = None
        for inside in (False, True):  # an object that is free all along, else room above what overlaps
            for k, entries in enumerate(held):
                tops = [at + size[c] for c, at in entries if lower[c] < upper[b] and lower[b] < upper[c]]
                top = -(-max(tops, default=0) // alignment[b]) * alignment[b]
                aligned = bases[k] % alignment[b] == 0
                if aligned and (not tops or inside) and top + size[b] <= sizes[k]:
                    spot = (k, top)
                    break
            if spot is not None:
                break
        if spot is None:
            end = bases[-1] + sizes[-1] if bases else 0
            bases.append(-(-end // alignment[b]) * alignment[b])
            sizes.append(size[b])
            held.append([])
            spot = (len(bases) - 1, 0)
        held[spot[0]].append((b, spot[1]))
        result[b] = bases[spot[0]] + spot[1]
    offset = np.array(result, np.int64)
    return layout.peak(offset), offset


def plan_xla_spatial(layout: Layout, alarm: Alarm | None = None) -> Result:
    """XLA's GlobalDecreasingSizeBestFitHeap: by size, best fit."""
    order = sort_by(-layout.size, -layout.span, layout.lower)
    return place_in_order(layout, order, True, alarm)


def plan_xla_temporal(layout: Layout, alarm: Alarm | None = None) -> Result:
    """The same heap by length of life."""
    order = sort_by(-layout.span, -layout.size, layout.lower)
    return place_in_order(layout, order, True, alarm)


def stack_in_order(layout: Layout, order: Int32s, alarm: Alarm | None) -> Result:
    """TVM USMP's placement: above everything placed that overlaps; gaps stay empty."""
    offset = np.full(layout.count, -1, np.int64)
    for b in order.tolist():
        check(alarm)
        near = overlaps(layout, b)
        near = near[offset[near] >= 0]
        top = int((offset[near] + layout.size[near]).max()) if len(near) else 0
        alignment = int(layout.alignment[b])
        offset[b] = -(-top // alignment) * alignment
    return layout.peak(offset), offset


def plan_usmp_size(layout: Layout, alarm: Alarm | None = None) -> Result:
    return stack_in_order(layout, sort_by(-layout.size), alarm)


def plan_usmp_conflicts(layout: Layout, alarm: Alarm | None = None) -> Result:
    return stack_in_order(layout, sort_by(-count_conflicts(layout), -layout.size), alarm)


def plan_usmp_hill(layout: Layout, alarm: Alarm | None = None, attempts: int = 500) -> Result:
    """In the manner of TVM's hill climbing: swap a buffer at the peak with one that overlaps it, keep the best.
    When the alarm rings, the best so far is the answer.
    """
    rng = random.Random(0)
    order = sort_by(-layout.size)
    place = np.argsort(order)  # per storage, its place in the order
    peak, offset = best = place_in_order(layout, order, False, alarm)
    with suppress(StoppedError):
        for attempt in range(attempts if layout.count > 1 else 0):
            b = rng.choice(np.flatnonzero(offset + layout.size == peak).tolist())
            near = overlaps(layout, b)
            earlier = near[place[near] < place[b]]
            c = int(rng.choice(earlier if len(earlier) else near if len(near) else np.array([b])))
            swap(order, place, b, c)
            new_peak, new_offset = place_in_order(layout, order, False, alarm)
            if new_peak <= peak or rng.random() < 0.2 * (1 - attempt / attempts):
                peak, offset = new_peak, new_offset
            else:
                swap(order, place, b, c)
            if peak < best[0]:
                best = (peak, offset)
    return best


def swap(order: Int32s, place: Int64s, b: int, c: int) -> None:
    order[place[b]], order[place[c]] = c, b
    place[b], place[c] = place[c], place[b]


def fit_by(name: str) -> Baseline:
    def plan(layout: Layout, alarm: Alarm | None = None) -> Result:
        return place_in_order(layout, ORDERS[name](layout), False, alarm)

    return plan


BASELINES: dict[str, Baseline] = {
    "tflm": plan_tflm,
    "executorch": plan_executorch,
    "xla_spatial": plan_xla_spatial,
    "xla_temporal": plan_xla_temporal,
    "ff_size": fit_by("size"),
    "ff_area": fit_by("area"),
    "ff_duration": fit_by("duration"),
    "ff_birth": fit_by("birth"),
    "ff_death": fit_by("death"),
    "ff_conflicts": fit_by("conflicts"),
    "ff_conflicts_size": fit_by("conflicts_size"),
    "usmp_size": plan_usmp_size,
    "usmp_conflicts": plan_usmp_conflicts,
    "usmp_hill": plan_usmp_hill,
}
WITHOUT_PINS = frozenset({"executorch", "usmp_size", "usmp_conflicts"})  # they know none: for problems that have none
