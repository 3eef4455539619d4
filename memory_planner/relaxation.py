"""A bound on the access cost over several pools: their sizes relaxed at a price per byte and time (Lagrange)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from memory_planner.native import Float64s, Int64s

ROUNDS = 300
PATIENCE = 12  # rounds without a better bound before the steps become shorter


@dataclass(frozen=True)
class Storages:
    """Alias groups and single buffers of a problem with several pools.

    Args:
        size: bytes.
        first, last: sections [first, last) in which it lives; a section begins at each distinct time of birth.
        cost: per storage and pool, of all its accesses; infinite where it may not lie.
        room: per pool, bytes.
    """

    size: Int64s
    first: Int64s
    last: Int64s
    cost: Float64s
    room: Int64s
    sections: int

    @property
    def count(self) -> int:
        return len(self.size)

    def loads(self, pool: Int64s) -> Int64s:
        """Per pool and section, the bytes of an assignment."""
        change = np.zeros((len(self.room), self.sections + 1), np.int64)
        np.add.at(change, (pool, self.first), self.size)
        np.subtract.at(change, (pool, self.last), self.size)
        return np.cumsum(change, axis=1)[:, :-1]

    def price(self, pool: Int64s) -> float:
        return float(self.cost[np.arange(self.count), pool].sum())


@dataclass(frozen=True)
class Relaxation:
    """What follows from one set of prices.

    Args:
        bound: no assignment that fits costs less.
        cost: per storage and pool, its cost and what its bytes cost at the prices.
        paid: the prices of all room; a full assignment costs at least the sum of its `cost` less this.
    """

    bound: float
    cost: Float64s
    paid: float


def relax_sizes(storages: Storages, target: float) -> Iterator[Relaxation]:
    """Better and better bounds by subgradient steps; the best comes last.

    Args:
        target: the cost of a known assignment, or a guess above the best.
    """
    x = storages
    finite = x.room < x.size.sum()
    room = np.where(finite, x.room, 0).astype(np.float64)
    prices = np.zeros((len(room), x.sections))
    best, since, scale = -np.inf, 0, 1.0
    for _ in range(ROUNDS):
        below = np.concatenate([np.zeros((len(room), 1)), np.cumsum(prices, axis=1)], axis=1)
        cost = x.cost + x.size[:, None] * (below[:, x.last] - below[:, x.first]).T
        paid = float(prices.sum(axis=1) @ room)
        pool = np.argmin(cost, axis=1)
        bound = float(cost[np.arange(x.count), pool].sum()) - paid
        since += 1
        if bound > best:
            best, since = bound, 0
            yield Relaxation(bound, cost, paid)
        elif since > PATIENCE:
            scale, since = scale / 2, 0
        over = np.where(finite[:, None], x.loads(pool) - room[:, None], 0.0)
        over[(prices <= 0) & (over < 0)] = 0.0
        norm = float((over * over).sum())
        if norm == 0.0 or bound >= target:
            return
        prices = np.maximum(0.0, prices + scale * (target - bound) / norm * over)
