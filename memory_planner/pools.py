"""Several pools: which buffer lies where, by access cost, under every pool's size."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from memory_planner.anytime import minimise_peak
from memory_planner.errors import CapacityError
from memory_planner.incumbent import Incumbent
from memory_planner.layout import Layout, bound_load, build_layout, check_pins
from memory_planner.native import Int64s
from memory_planner.options import SearchOptions
from memory_planner.plan import Attempt, Placement, Plan
from memory_planner.problem import Buffer, Pool, Problem

UNBOUNDED = 2**62


@dataclass(frozen=True)
class Storage:
    """An alias group or a single buffer, with its cost in every pool it may lie in, cheapest first."""

    buffers: tuple[Buffer, ...]
    size: int
    first: int  # sections [first, last)
    last: int
    choices: tuple[tuple[float, int], ...]  # (cost, index of pool)

    @property
    def regret(self) -> float:
        """What the dearest pool costs more than the cheapest."""
        return self.choices[-1][0] - self.choices[0][0]


@dataclass
class Assignment:
    """Best assignment so far: pool of every storage, and the packing of every pool."""

    cost: float = float("inf")
    pool: list[int] = field(default_factory=list)
    packed: list[Incumbent] = field(default_factory=list)
    doubted: bool = False  # a cheaper one was dropped without proof that it cannot be packed


def find_cost(buffer: Buffer, pool: Pool) -> float:
    return buffer.size_bytes * (buffer.reads * pool.read_cost + buffer.writes * pool.write_cost)


def build_storages(problem: Problem) -> list[Storage]:
    """Storages in the problem's order.

    Raises:
        CapacityError: one fits none of its pools.
    """
    groups: dict[str, list[Buffer]] = defaultdict(list)
    for b in problem.buffers:
        groups[f"b{b.name}" if b.group is None else f"g{b.group}"].append(b)
    times = sorted({t for b in problem.buffers for t in (b.lower, b.upper)})
    index = {t: i for i, t in enumerate(times)}
    result = []
    for members in groups.values():
        size = max(b.size_bytes for b in members)
        pins = [b.offset for b in members if b.offset is not None]
        choices = []
        for k, pool in enumerate(problem.pools):
            if any(b.pools and pool.name not in b.pools for b in members):
                continue
            end = size + (pins[0] if pins else 0)
            if (pool.size_bytes is None or end <= pool.size_bytes) and not any(p % pool.alignment for p in pins):
                choices.append((sum(find_cost(b, pool) for b in members), k))
        if not choices:
            raise CapacityError(
                f"alias group of '{members[0].name}' needs {size} B and fits no pool that it may lie in",
                size,
                max((p.size_bytes or 0) for p in problem.pools),
                True,
                None,
            )
        first = index[min(b.lower for b in members)]
        last = index[max(b.upper for b in members)]
        result.append(Storage(tuple(members), size, first, last, tuple(sorted(choices))))
    return result


class Assigner:
    """Depth first over the storages, dearest decision first; every pool's load is kept under its size."""

    def __init__(self, problem: Problem, deadline: float, options: SearchOptions) -> None:
        self.problem = problem
        self.deadline = deadline
        self.options = options
        self.storages = build_storages(problem)
        self.sizes = [UNBOUNDED if p.size_bytes is None else p.size_bytes for p in problem.pools]
        self.best = Assignment()
        self.tried: list[Attempt] = []
        self.sections = max((s.last for s in self.storages), default=0)
        self.floor = sum(s.choices[0][0] for s in self.storages)
        self.nodes = 0

    def orders(self) -> list[list[int]]:
        """By what is lost per byte and time, per byte, and in all."""
        s = self.storages
        keys = [
            lambda i: -s[i].regret / max(1, s[i].size * (s[i].last - s[i].first)),
            lambda i: -s[i].regret / max(1, s[i].size),
            lambda i: -s[i].regret,
            lambda i: -s[i].size,
        ]
        free = [i for i in range(len(s)) if len(s[i].choices) > 1]
        forced = [i for i in range(len(s)) if len(s[i].choices) == 1]
        return [forced + sorted(free, key=lambda i, key=key: (key(i), i)) for key in keys]  # type: ignore[misc]

    def assign_greedily(self, order: list[int], sizes: list[int]) -> list[int] | None:
        """Everything into the cheapest pool with room at all times; None where something has none."""
        load = np.zeros((len(sizes), self.sections), np.int64)
        result = [-1] * len(order)
        for i in order:
            s = self.storages[i]
            for _, k in s.choices:
                span = load[k, s.first : s.last]
                if s.size == 0 or int(span.max()) + s.size <= sizes[k]:
                    span += s.size
                    result[i] = k
                    break
            else:
                return None
        return result

    def pack(self, pool: list[int], share_s: float) -> list[Incumbent] | None:
        """Pack every pool; None where one does not fit its size. Says in best.doubted if that is not proven."""
        result = []
        for k, p in enumerate(self.problem.pools):
            layout = build_layout(
                [b for i, s in enumerate(self.storages) if pool[i] == k for b in s.buffers], p.alignment
            )
            check_pins(layout)
            until = min(self.deadline, time.perf_counter() + share_s)
            packed = minimise_peak(layout, until, self.options)
            if packed.peak * layout.unit > self.sizes[k]:
                if packed.bound * layout.unit <= self.sizes[k]:
                    self.best.doubted = True
                return None
            result.append(packed)
        return result

    def price(self, pool: list[int]) -> float:
        return sum({k: c for c, k in s.choices}[pool[i]] for i, s in enumerate(self.storages))

    def offer(self, pool: list[int], method: str, share_s: float) -> bool:
        cost = self.price(pool)
        if cost >= self.best.cost:
            return False
        packed = self.pack(pool, share_s)
        if packed is None:
            return False
        total = sum(p.peak * p.layout.unit for p in packed)
        self.tried.append(Attempt(method, total, f"cost {cost:g}"))
        self.best.cost, self.best.pool, self.best.packed = cost, pool, packed
        return True

    def seed(self, share_s: float) -> None:
        """Greedy assignments; a pool that cannot be packed is filled less until it can."""
        for n, order in enumerate(self.orders()):
            sizes = list(self.sizes)
            for shrink in range(12):
                pool = self.assign_greedily(order, sizes)
                if pool is None:
                    break
                if self.offer(pool, f"greedy_{n}", share_s) or self.best.cost <= self.price(pool):
                    break
                if time.perf_counter() > self.deadline and shrink > 2:
                    break
                sizes = [c if c == UNBOUNDED else c - (c * (shrink + 1)) // 48 for c in self.sizes]

    def search(self, share_s: float) -> bool:
        """Exhaust the assignments that could be cheaper; True when done before the deadline."""
        order = self.orders()[1]
        tail = [0.0] * (len(order) + 1)
        for at in range(len(order) - 1, -1, -1):
            tail[at] = tail[at + 1] + self.storages[order[at]].choices[0][0]
        load = np.zeros((len(self.sizes), self.sections), np.int64)
        pool = [-1] * len(order)
        cost = [0.0] * (len(order) + 1)
        turn = [0] * (len(order) + 1)
        at = 0
        while at >= 0:
            self.nodes += 1
            if self.nodes % 64 == 0 and time.perf_counter() > self.deadline:
                return False
            if at == len(order):
                self.offer(list(pool), "assignment", share_s)
                at -= 1
                continue
            i = order[at]
            s = self.storages[i]
            if pool[i] >= 0:
                load[pool[i], s.first : s.last] -= s.size
                pool[i] = -1
            if turn[at] == len(s.choices):
                turn[at] = 0
                at -= 1
                continue
            price, k = s.choices[turn[at]]
            turn[at] += 1
            span = load[k, s.first : s.last]
            if cost[at] + price + tail[at + 1] >= self.best.cost:
                turn[at] = len(s.choices)  # the later choices cost more
            elif s.size == 0 or int(span.max()) + s.size <= self.sizes[k]:
                span += s.size
                pool[i] = k
                cost[at + 1] = cost[at] + price
                at += 1
        return True


def bound_cost(assigner: Assigner) -> float:
    """No assignment is cheaper: at the worst time, the bytes that the cheapest pool cannot hold are spilled at the
    lowest price a byte, fractionally.
    """
    worst = 0.0
    cheapest: dict[int, list[Storage]] = defaultdict(list)
    for s in assigner.storages:
        if s.size:
            cheapest[s.choices[0][1]].append(s)
    for k, storages in cheapest.items():
        for at in sorted({s.first for s in storages}):
            live = [s for s in storages if s.first <= at < s.last]
            over = sum(s.size for s in live) - assigner.sizes[k]
            extra = 0.0
            rates = sorted(((s.choices[1][0] - s.choices[0][0]) / s.size, s.size) for s in live if len(s.choices) > 1)
            for rate, size in rates:
                if over <= 0:
                    break
                extra += rate * min(over, size)
                over -= size
            worst = max(worst, extra)
    return assigner.floor + worst


def solve_pools(problem: Problem, deadline: float, options: SearchOptions) -> Plan:
    """Assign by cost, pack, and prove where the assignments can be exhausted.

    Raises:
        CapacityError: nothing that fits was found.
    """
    assigner = Assigner(problem, deadline, options)
    left = max(0.05, deadline - time.perf_counter())
    assigner.seed(left / 16)
    bound = bound_cost(assigner)
    done = assigner.best.cost <= bound * (1 + 1e-12)
    if not done:
        done = assigner.search(left / 16) and not assigner.best.doubted
    best = assigner.best
    if not best.packed:
        raise describe_misfit(problem, done)
    if not done and time.perf_counter() < deadline:
        done = best.cost <= bound * (1 + 1e-12)
    return make_plan(problem, assigner, bound, done)


def make_plan(problem: Problem, assigner: Assigner, bound: float, done: bool) -> Plan:
    best = assigner.best
    offsets: dict[str, int] = {}
    for packed in best.packed:
        offsets |= packed.layout.name_offsets(packed.offset)
    placements = {}
    peaks = {pool.name: 0 for pool in problem.pools}
    where = {b.name: best.pool[i] for i, s in enumerate(assigner.storages) for b in s.buffers}
    for b in problem.buffers:
        pool = problem.pools[where[b.name]]
        placements[b.name] = Placement(pool.name, offsets[b.name])
        peaks[pool.name] = max(peaks[pool.name], offsets[b.name] + b.size_bytes)
    whole = build_layout([b for b in problem.buffers if b.offset is None])
    load = total_load(whole)
    return Plan(
        placements=MappingProxyType(placements),
        peak_bytes=MappingProxyType(peaks),
        lower_bound_bytes=load,
        proven=done,
        cost=best.cost,
        cost_lower_bound=best.cost if done else min(bound, best.cost),
        tried=tuple(assigner.tried),
    )


def total_load(layout: Layout) -> int:
    """Bytes alive at once, of all pools together."""
    if layout.count == 0:
        return 0
    change: Int64s = np.zeros(int(layout.upper.max()) + 1, np.int64)
    np.add.at(change, layout.lower, layout.size)
    np.subtract.at(change, layout.upper, layout.size)
    return int(np.cumsum(change).max()) * layout.unit


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
