"""A single pool's buffers as arrays: what the solvers work on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd, lcm

import numpy as np
import numpy.typing as npt

from memory_planner.errors import PinConflictError
from memory_planner.native import Int64s
from memory_planner.plan import Plan
from memory_planner.problem import Buffer


@dataclass(frozen=True)
class Layout:
    """Storages of one pool, in units of `unit` bytes; alias groups are one storage, empty buffers are left out.

    Args:
        members: per storage, the names of the buffers that lie in it.
        lower, upper: numbers of distinct times, not the times themselves.
        span: the length of life in the caller's clock.
        pin: per storage, the fixed offset, or -1.
    """

    members: tuple[tuple[str, ...], ...]
    empty: tuple[tuple[str, int], ...]
    lower: Int64s
    upper: Int64s
    span: npt.NDArray[np.float64]
    size: Int64s
    alignment: Int64s
    pin: Int64s
    unit: int

    @property
    def count(self) -> int:
        return len(self.size)

    def peak(self, offset: Int64s) -> int:
        """In units."""
        return int((offset + self.size).max()) if self.count else 0

    def name_offsets(self, offset: Int64s) -> dict[str, int]:
        """Byte offset of every buffer."""
        result = dict(self.empty)
        for names, at in zip(self.members, offset, strict=True):
            for name in names:
                result[name] = int(at) * self.unit
        return result


def build_layout(buffers: Sequence[Buffer], pool_alignment: int = 1) -> Layout:
    """Merge alias groups, drop empty buffers and divide by the common divisor."""
    groups: dict[str, list[Buffer]] = defaultdict(list)
    for buffer in buffers:
        groups[f"b{buffer.name}" if buffer.group is None else f"g{buffer.group}"].append(buffer)
    members, rows = [], []
    empty: list[tuple[str, int]] = []
    for group in groups.values():
        size = max(b.size_bytes for b in group)
        pins = [b.offset for b in group if b.offset is not None]
        held = pins[0] if pins else -1
        if size == 0:
            empty += [(b.name, max(0, held)) for b in group]
            continue
        alignment = lcm(pool_alignment, *(b.alignment for b in group))
        members.append(tuple(b.name for b in group))
        rows.append((min(b.lower for b in group), max(b.upper for b in group), size, alignment, held))
    table = np.array(rows, dtype=np.int64).reshape(len(rows), 5)
    # Offsets are sums of sizes, rounded to alignments, or pins: all multiples of the common divisor.
    unit = gcd(*(row[2] for row in rows), *(row[3] for row in rows if row[3] > 1), *(max(0, row[4]) for row in rows))
    unit = max(1, unit)
    alignment_units = np.array([row[3] // gcd(row[3], unit) for row in rows], dtype=np.int64)
    lower, upper, sizes, _, pinned = (np.ascontiguousarray(table[:, k]) for k in range(5))
    times = distinct(np.concatenate([lower, upper]))
    return Layout(
        tuple(members),
        tuple(empty),
        np.searchsorted(times, lower).astype(np.int64),
        np.searchsorted(times, upper).astype(np.int64),
        upper.astype(np.float64) - lower,
        sizes // unit,
        alignment_units,
        np.where(pinned >= 0, pinned // unit, -1),
        unit,
    )


def distinct(values: Int64s) -> Int64s:
    """Sorted, each once. numpy.unique would load numpy.ma first, which takes longer than planning a small model."""
    ordered = np.sort(values)
    first = np.ones(len(ordered), bool)
    first[1:] = ordered[1:] != ordered[:-1]
    return ordered[first]


def check_pins(layout: Layout) -> None:
    """Refuse pins that overlap while both are alive, alias groups included.

    Raises:
        PinConflictError: names the two.
    """
    pinned = sorted((int(layout.lower[i]), i) for i in np.flatnonzero(layout.pin >= 0).tolist())
    active: list[int] = []
    for lower, i in pinned:
        active = [k for k in active if layout.upper[k] > lower]
        for k in active:
            if layout.pin[i] < layout.pin[k] + layout.size[k] and layout.pin[k] < layout.pin[i] + layout.size[i]:
                raise PinConflictError(
                    f"buffers '{layout.members[k][0]}' and '{layout.members[i][0]}' are pinned to overlapping "
                    "addresses while both are alive"
                )
        active.append(i)


def read_start(layout: Layout, start: Plan | None, pool: str) -> Int64s | None:
    """A given plan as offsets, or None where it does not fit the layout."""
    if start is None:
        return None
    places = [start.placements.get(names[0]) for names in layout.members]
    if any(place is None or place.pool != pool for place in places):
        return None
    given = np.array([place.offset for place in places if place is not None], np.int64)
    if (given % layout.unit).any():
        return None
    given //= layout.unit
    pinned = (layout.pin >= 0) & (given != layout.pin)
    if (given % layout.alignment).any() or pinned.any():
        return None
    order = np.argsort(layout.lower, kind="stable")
    for k, i in enumerate(order):
        later = order[k + 1 :][layout.lower[order[k + 1 :]] < layout.upper[i]]
        if ((given[later] < given[i] + layout.size[i]) & (given[i] < given[later] + layout.size[later])).any():
            return None
    return given


def bound_load(layout: Layout) -> int:
    """Most units alive at one time. For every alignment, the buffers that keep it are counted rounded up to it, but
    for the topmost one.
    """
    if layout.count == 0:
        return 0
    tops = np.where(layout.pin >= 0, layout.pin + layout.size, layout.size)
    best = int(tops.max())
    steps = {int(np.gcd.reduce(layout.alignment)), *(int(a) for a in distinct(layout.alignment)[-16:])}
    for step in sorted(steps):
        kept = np.flatnonzero(layout.alignment % step == 0)
        rounded = -(-layout.size[kept] // step) * step
        change = np.zeros(int(layout.upper.max()) + 1, np.int64)
        np.add.at(change, layout.lower[kept], rounded)
        np.subtract.at(change, layout.upper[kept], rounded)
        live = np.cumsum(change)
        if step > 1:
            live = live - most_padding(layout, kept, rounded - layout.size[kept], len(live))
        best = max(best, int(live.max()))
    return best


def most_padding(layout: Layout, kept: Int64s, padding: Int64s, length: int) -> Int64s:
    """Per time, the largest padding of a live buffer."""
    result = np.zeros(length, np.int64)
    for k in np.argsort(padding, kind="stable"):
        result[layout.lower[kept[k]] : layout.upper[kept[k]]] = padding[k]
    return result
