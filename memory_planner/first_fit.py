"""First fit in many orders: the fast start of every solve."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from memory_planner import native
from memory_planner.layout import Layout
from memory_planner.native import Alarm, Int32s, Int64s, StoppedError

Order = Callable[[Layout], Int32s]


def sort_by(*keys: Int64s | npt.NDArray[np.float64]) -> Int32s:
    """Indices by the keys, the first one most important; ties in the given order."""
    return np.lexsort(keys[::-1]).astype(np.int32)


def count_conflicts(layout: Layout) -> Int64s:
    """Per storage, how many others are alive together with it."""
    before = np.searchsorted(np.sort(layout.upper), layout.lower, side="right")
    after = layout.count - np.searchsorted(np.sort(layout.lower), layout.upper, side="left")
    return (layout.count - before - after - 1).astype(np.int64)


def find_crowding(layout: Layout) -> Int64s:
    """Per storage, the largest load at any time of its life."""
    change = np.zeros(int(layout.upper.max()) + 1, np.int64)
    np.add.at(change, layout.lower, layout.size)
    np.subtract.at(change, layout.upper, layout.size)
    level = np.cumsum(change)
    span = layout.upper - layout.lower
    result = np.zeros(layout.count, np.int64)
    width = 1
    while True:  # a sparse table, one level at a time: maxima over windows of `width`
        hit = (span >= width) & (span < 2 * width)
        if hit.any():
            result[hit] = np.maximum(level[layout.lower[hit]], level[layout.upper[hit] - width])
        if 2 * width >= len(level):
            return result
        level = np.maximum(level[:-width], level[width:])
        width *= 2


def order_last_added(layout: Layout) -> Int32s:
    return sort_by(-layout.size, -np.arange(layout.count))


ORDERS: dict[str, Order] = {
    "size": lambda x: sort_by(-x.size, -x.span, x.lower),
    "size_last_added": order_last_added,
    "area": lambda x: sort_by(-x.size * x.span, -x.size),
    "sections_area": lambda x: sort_by(-x.size * (x.upper - x.lower), -x.size),
    "duration": lambda x: sort_by(-x.span, -x.size),
    "sections_duration": lambda x: sort_by(x.lower - x.upper, -x.size),
    "birth": lambda x: sort_by(x.lower, -x.span, -x.size),
    "death": lambda x: sort_by(-x.upper, -x.span, -x.size),
    "conflicts": lambda x: sort_by(-count_conflicts(x), -x.size),
    "conflicts_size": lambda x: sort_by(-count_conflicts(x) * x.size.astype(np.float64), -x.size),
    "crowding_size": lambda x: sort_by(-find_crowding(x), -x.size, -x.span),
    "crowding_duration": lambda x: sort_by(-find_crowding(x), -x.span, -x.size),
}


def place_in_order(
    layout: Layout, order: Int32s, best_fit: bool = False, alarm: Alarm | None = None
) -> tuple[int, Int64s]:
    """(peak, offsets) in units; in Python where the core is missing.

    Raises:
        StoppedError: the alarm, which must be entered, rang.
    """
    if native.is_available():
        x = layout
        return native.first_fit(x.lower, x.upper, x.size, x.alignment, x.pin, order, best_fit, alarm)
    return place_slowly(layout, order, best_fit, alarm)


def place_slowly(layout: Layout, order: Int32s, best_fit: bool, alarm: Alarm | None = None) -> tuple[int, Int64s]:
    """What mp_first_fit does, in Python."""
    lower, upper = layout.lower.tolist(), layout.upper.tolist()
    size, alignment, pin = layout.size.tolist(), layout.alignment.tolist(), layout.pin.tolist()
    offset = [0] * layout.count
    placed: list[int] = []
    for b in sorted(order.tolist(), key=lambda b: pin[b] < 0):
        if alarm is not None and alarm.rang:
            raise StoppedError
        at, best, best_gap = 0, -1, 2**63
        for c in placed:
            if lower[c] >= upper[b] or upper[c] <= lower[b]:
                continue
            gap = offset[c] - at
            if size[b] <= gap < best_gap:
                best, best_gap = at, gap
                if not best_fit:
                    break
            at = max(at, -(-(offset[c] + size[c]) // alignment[b]) * alignment[b])
        offset[b] = pin[b] if pin[b] >= 0 else best if best >= 0 else at
        placed.append(b)
        placed.sort(key=offset.__getitem__)
    result = np.array(offset, np.int64)
    return layout.peak(result), result
