"""Several pools: which buffer lies where, by access cost, under every pool's size."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from math import gcd, lcm
from types import MappingProxyType

import numpy as np

from memory_planner.anytime import minimise_peak
from memory_planner.assignment import assign_greedily, exhaust_assignments, greedy_orders, improve_assignment
from memory_planner.errors import CapacityError, PinConflictError
from memory_planner.incumbent import Incumbent
from memory_planner.layout import Layout, bound_load, build_layout, check_pins, read_start
from memory_planner.native import Alarm, Float64s, Int64s
from memory_planner.options import SearchOptions
from memory_planner.plan import Attempt, Placement, Plan
from memory_planner.problem import Buffer, Pool, Problem
from memory_planner.relaxation import Relaxation, Storages, relax_sizes

UNBOUNDED = 2**62
PACK_TURNS = 24  # searches for the packing of one pool, before its assignment is given up
FILLINGS = 12  # times that a greedy assignment is repeated with less room
STEPS = 200  # neighbours looked at before the best is packed and the exhaustive search has a slice
CACHE = 2000  # packings remembered


def find_cost(buffer: Buffer, pool: Pool) -> float:
    return buffer.size_bytes * (buffer.reads * pool.read_cost + buffer.writes * pool.write_cost)


def round_up(size: int, step: int) -> int:
    return -(-size // step) * step


def group_buffers(problem: Problem) -> list[tuple[Buffer, ...]]:
    """Alias groups and single buffers, in the problem's order."""
    groups: dict[str, list[Buffer]] = defaultdict(list)
    for b in problem.buffers:
        groups[f"b{b.name}" if b.group is None else f"g{b.group}"].append(b)
    return [tuple(members) for members in groups.values()]


def build_storages(problem: Problem, groups: list[tuple[Buffer, ...]]) -> Storages:
    """One storage a group.

    Raises:
        CapacityError: one fits none of its pools.
    """
    births = np.unique([b.lower for b in problem.buffers])
    size = [max(b.size_bytes for b in members) for members in groups]
    cost = np.full((len(groups), len(problem.pools)), np.inf)
    for i, members in enumerate(groups):
        pins = [b.offset for b in members if b.offset is not None]
        for k, pool in enumerate(problem.pools):
            if any(b.pools and pool.name not in b.pools for b in members):
                continue
            end = size[i] + (pins[0] if pins else 0)
            if (pool.size_bytes is None or end <= pool.size_bytes) and not any(p % pool.alignment for p in pins):
                cost[i, k] = sum(find_cost(b, pool) for b in members)
        if not np.isfinite(cost[i]).any():
            raise CapacityError(
                f"alias group of '{members[0].name}' needs {size[i]} B and fits no pool that it may lie in",
                size[i],
                max((p.size_bytes or 0) for p in problem.pools),
                True,
                None,
            )
    # All offsets are multiples of the common alignment, and all sizes but the topmost one's are as good as rounded up.
    step = gcd(*(b.alignment for b in problem.buffers)) if problem.buffers else 1
    room = [UNBOUNDED if p.size_bytes is None else round_up(p.size_bytes, step) for p in problem.pools]
    return Storages(
        np.array([round_up(s, step) for s in size], np.int64),
        np.searchsorted(births, [min(b.lower for b in members) for members in groups]),
        np.searchsorted(births, [max(b.upper for b in members) for members in groups]),
        cost,
        np.array(room, np.int64),
        len(births),
    )


class Packer:
    """Packs what assignments put into each pool, and keeps the cheapest that fits.

    Attributes:
        cost, pool, packed: the best so far; infinite and empty where there is none.
        doubt: the cheapest assignment that was dropped without proof that it cannot be packed.
        tight: the storages as further assignments should see them: sizes rounded up to their alignment, less room
            where full pools could not be packed.
    """

    def __init__(self, problem: Problem, alarm: Alarm, options: SearchOptions, start: Plan | None) -> None:
        self.problem = problem
        self.alarm = alarm
        self.options = options
        self.start = start
        self.groups = group_buffers(problem)
        self.storages = build_storages(problem, self.groups)
        padded = [round_up(max(b.size_bytes for b in g), lcm(*(b.alignment for b in g))) for g in self.groups]
        self.tight = replace(self.storages, size=np.array(padded, np.int64), room=self.storages.room.copy())
        self.sizes = [UNBOUNDED if p.size_bytes is None else p.size_bytes for p in problem.pools]
        self.cost = self.doubt = float("inf")
        self.pool: Int64s = np.zeros(0, np.int64)
        self.packed: list[Incumbent] = []
        self.known: dict[tuple[int, bytes], Incumbent | None] = {}
        self.tried: list[Attempt] = []

    def offer(self, pool: Int64s, method: str) -> bool:
        """Take an assignment if it is cheaper than the best so far and can be packed."""
        cost = self.storages.price(pool)
        if cost >= self.cost:
            return False
        packed = []
        for k, size in enumerate(self.sizes):
            best = self.pack(k, np.flatnonzero(pool == k))
            over = size + 1 if best is None else best.peak * best.layout.unit - size
            if best is None or over > 0:
                if best is not None:
                    self.tight.room[k] = max(size // 2, self.tight.room[k] - max(1, over // 2, size // 128))
                    if best.bound * best.layout.unit <= size:
                        self.doubt = min(self.doubt, cost)
                return False
            packed.append(best)
        self.tight.room[:] += (self.storages.room - self.tight.room) // 4
        self.cost, self.pool, self.packed = cost, pool, packed
        total = sum(best.peak * best.layout.unit for best in packed)
        self.tried.append(Attempt(method, total, f"cost {cost:g}"))
        return True

    def pack(self, k: int, chosen: Int64s) -> Incumbent | None:
        """A packing of one pool, as small as its size if one is found; None where pins overlap in it."""
        key = (k, chosen.tobytes())
        if key in self.known:
            return self.known[key]
        pool = self.problem.pools[k]
        layout = build_layout([b for i in chosen.tolist() for b in self.groups[i]], pool.alignment)
        best = None
        if not pins_overlap(layout):
            given = read_start(layout, self.start, pool.name)
            part = self.alarm.within(self.alarm.seconds_left / 4)
            best = minimise_peak(layout, part, self.options, given, self.sizes[k] // layout.unit, PACK_TURNS)
        if len(self.known) >= CACHE:
            self.known.clear()
        self.known[key] = best
        return best

    def seed(self, orders: Iterable[Int64s], cost: Float64s, method: str) -> None:
        """Greedy assignments; a pool that cannot be packed is filled less until it can."""
        for n, order in enumerate(orders):
            before: Int64s | None = None
            for _ in range(FILLINGS):
                pool = assign_greedily(self.tight, order, cost)
                if pool is None or (before is not None and (pool == before).all()):
                    break
                before = pool
                if self.offer(pool, f"{method}_{n}") or self.cost <= self.storages.price(pool):
                    break
                if self.alarm.rang and self.packed:
                    return


def pins_overlap(layout: Layout) -> bool:
    try:
        check_pins(layout)
    except PinConflictError:
        return True
    return False


def read_assignment(packer: Packer, start: Plan) -> Int64s | None:
    """The pools of a given plan, None where it lacks a buffer or breaks a rule."""
    index = {pool.name: k for k, pool in enumerate(packer.problem.pools)}
    places = [start.placements.get(members[0].name) for members in packer.groups]
    pool = np.array([-1 if place is None else index.get(place.pool, -1) for place in places])
    if (pool < 0).any() or not np.isfinite(packer.storages.cost[np.arange(len(pool)), pool]).all():
        return None
    return pool


def solve_pools(problem: Problem, alarm: Alarm, options: SearchOptions, start: Plan | None) -> Plan:
    """Assign by cost, pack, and prove where the assignments can be exhausted.

    Raises:
        CapacityError: nothing that fits was found.
    """
    packer = Packer(problem, alarm, options, start)
    x = packer.storages
    given = None if start is None else read_assignment(packer, start)
    if given is not None:
        packer.offer(given, "given")
    packer.seed(greedy_orders(x), x.cost, "greedy")
    bound = float(x.cost.min(axis=1).sum())
    if not is_closed(packer, bound):
        relaxed = relax(packer)
        bound = relaxed.bound
        if not is_closed(packer, bound) and search(packer, relaxed):
            bound = min(packer.cost, packer.doubt)
    if len(packer.packed) == 0:
        raise describe_misfit(problem, bound == float("inf"))
    return make_plan(packer, min(bound, packer.cost), is_closed(packer, bound))


def is_closed(packer: Packer, bound: float) -> bool:
    return packer.cost <= bound + 1e-9 * abs(bound)


def relax(packer: Packer) -> Relaxation:
    """The best bound, and greedy assignments by its prices on the way."""
    x = packer.storages
    target = packer.cost
    if target == float("inf"):
        target = float(np.where(np.isfinite(x.cost), x.cost, -np.inf).max(axis=1).sum())
    best = Relaxation(float(x.cost.min(axis=1).sum()), x.cost, 0.0)
    for n, best in enumerate(relax_sizes(x, target)):
        if packer.alarm.rang or is_closed(packer, best.bound):
            break
        if n % 8 == 0:
            packer.seed(greedy_orders(replace(x, cost=best.cost))[:2], best.cost, "priced")
    packer.seed(greedy_orders(replace(x, cost=best.cost)), best.cost, "priced")
    return best


def search(packer: Packer, relaxed: Relaxation) -> bool:
    """Exhaust the assignments that could be cheaper, and look near the best one in between; True when exhausted."""
    rng = np.random.default_rng(0)
    current, steps = packer.pool, STEPS
    for found in exhaust_assignments(packer.storages, relaxed, lambda: packer.cost):
        if found is not None:
            packer.offer(found, "exhaustive")
            continue
        if packer.alarm.rang or is_closed(packer, relaxed.bound):
            return False
        if len(current) == 0 or packer.storages.price(current) > packer.cost:
            current = packer.pool
        for _ in range(steps if len(current) else 0):
            near = improve_assignment(packer.tight, relaxed, current, rng)
            current = current if near is None else near
        if len(current) and packer.storages.price(current) < packer.cost:
            taken = packer.offer(current, "neighbour")
            current, steps = packer.pool, min(2 * steps, STEPS) if taken else max(1, steps // 4)
    return True


def make_plan(packer: Packer, bound: float, proven: bool) -> Plan:
    problem = packer.problem
    offsets: dict[str, int] = {}
    for packed in packer.packed:
        offsets |= packed.layout.name_offsets(packed.offset)
    where = {b.name: problem.pools[k] for k, members in zip(packer.pool, packer.groups, strict=True) for b in members}
    peaks = {pool.name: 0 for pool in problem.pools}
    for b in problem.buffers:
        name = where[b.name].name
        peaks[name] = max(peaks[name], offsets[b.name] + b.size_bytes)
    return Plan(
        placements=MappingProxyType({b.name: Placement(where[b.name].name, offsets[b.name]) for b in problem.buffers}),
        peak_bytes=MappingProxyType(peaks),
        lower_bound_bytes=find_load(packer),
        proven=proven,
        cost=packer.cost,
        cost_lower_bound=bound,
        tried=tuple(packer.tried),
    )


def find_load(packer: Packer) -> int:
    """Most bytes alive at once, in all pools together."""
    size = np.array([max(b.size_bytes for b in members) for members in packer.groups], np.int64)
    x = replace(packer.storages, size=size)
    return int(x.loads(np.zeros(x.count, np.int64)).sum(axis=0).max(initial=0))


def describe_misfit(problem: Problem, done: bool) -> CapacityError:
    layout = build_layout(problem.buffers)
    need = bound_load(layout) * layout.unit
    has = sum(p.size_bytes or 0 for p in problem.pools)
    sizes = ", ".join(f"{p.name} {'unbounded' if p.size_bytes is None else p.size_bytes}" for p in problem.pools)
    over = f" ({need - has} B over)" if need > has else "; no assignment found packs into every pool"
    return CapacityError(
        f"buffers do not fit the pools ({sizes}): {need} B are alive at once, the pools have {has} B{over}\n"
        "  try: enlarge a pool, allow more pools to the buffers, shorten or split a long-lived one",
        need,
        has,
        done or need > has,
        None,
    )
