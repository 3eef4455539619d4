"""Which storage lies in which pool: greedy starts, neighbourhoods, and an exhaustive search, all by load alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from memory_planner.native import Float64s, Int64s
from memory_planner.relaxation import Relaxation, Storages

TRIES = 20


def greedy_orders(x: Storages) -> list[Int64s]:
    """By what is lost per byte and time, per byte, and in all, and by size; what has no choice comes first."""
    allowed = np.isfinite(x.cost)
    regret = np.where(allowed, x.cost, -np.inf).max(axis=1) - x.cost.min(axis=1)
    size, life = np.maximum(1, x.size), x.last - x.first
    free = allowed.sum(axis=1) > 1
    return [np.lexsort((key, free)) for key in (-regret / (size * life), -regret / size, -regret, -x.size)]


def assign_greedily(x: Storages, order: Int64s, cost: Float64s, pool: Int64s | None = None) -> Int64s | None:
    """Every storage of the order into the cheapest pool that has room all along, the others as in `pool`; those that
    find none come first in the next try.

    Returns:
        Per storage its pool; None where some have no room in any try.
    """
    for _ in range(TRIES):
        result = assign_once(x, order, cost, pool)
        left = result[order] < 0
        if not left.any():
            return result
        order = np.concatenate([order[left], order[~left]])
    return None


def assign_once(x: Storages, order: Int64s, cost: Float64s, pool: Int64s | None) -> Int64s:
    """Per storage its pool, -1 where it finds no room."""
    result = np.full(x.count, -1) if pool is None else pool.copy()
    result[order] = -1
    kept = np.flatnonzero(result >= 0)
    load = np.zeros((len(x.room), x.sections), np.int64)
    if len(kept):
        part = Storages(x.size[kept], x.first[kept], x.last[kept], x.cost[kept], x.room, x.sections)
        load = part.loads(result[kept])
    ways = np.argsort(cost[order], axis=1, kind="stable").tolist()
    for i, choices in zip(order.tolist(), ways, strict=True):
        size, first, last = int(x.size[i]), int(x.first[i]), int(x.last[i])
        for k in choices:
            span = load[k, first:last]
            if np.isfinite(cost[i, k]) and (size == 0 or int(span.max()) + size <= x.room[k]):
                span += size
                result[i] = k
                break
    return result


def improve_assignment(x: Storages, relaxed: Relaxation, start: Int64s, rng: np.random.Generator) -> Int64s | None:
    """Take out what lives around a random time, or anywhere, and put it back in an order near that of the prices; None
    where that costs more than before or changes nothing.
    """
    if rng.random() < 0.7:
        at = int(rng.integers(x.sections))
        width = int(rng.integers(1, 2 + x.sections // 8))
        chosen = np.flatnonzero((x.first < at + width) & (x.last > at))
    else:
        chosen = np.arange(x.count)
    if len(chosen) > 12:
        chosen = chosen[rng.random(len(chosen)) < 12.0 / len(chosen) + 0.3 * rng.random()]
    noise = relaxed.cost[chosen] if rng.random() < 0.5 else x.cost[chosen]
    two = np.sort(noise, axis=1)[:, :2]
    regret = np.where(np.isfinite(two[:, 1]), two[:, 1] - two[:, 0], np.inf) / np.maximum(1, x.size[chosen])
    order = chosen[np.argsort(-regret * np.exp(rng.normal(0.0, 0.5, len(chosen))), kind="stable")]
    result = assign_once(x, order, x.cost, start)
    if (result < 0).any() or x.price(result) > x.price(start) or (result == start).all():
        return None
    return result


def exhaust_assignments(x: Storages, relaxed: Relaxation, best_cost: Callable[[], float]) -> Iterator[Int64s | None]:
    """Depth first, the dearest decision first; every assignment whose bound is below `best_cost` comes out, and None
    now and then, so that others get their turn.
    """
    cost = relaxed.cost
    choices = [[(float(row[k]), k) for k in np.argsort(row, kind="stable") if np.isfinite(row[k])] for row in cost]
    regret = [c[1][0] - c[0][0] if len(c) > 1 else float("inf") for c in choices]
    order = sorted(range(x.count), key=lambda i: (-regret[i], i))
    whole = bool((x.cost[np.isfinite(x.cost)] % 1 == 0).all())
    tail = [0.0]
    for i in reversed(order):
        tail.append(tail[-1] + choices[i][0][0])
    tail.reverse()
    load = np.zeros((len(x.room), x.sections), np.int64)
    size, first, last, room = (v.tolist() for v in (x.size, x.first, x.last, x.room))
    pool = [-1] * x.count
    turn = [0] * x.count
    spent = [-relaxed.paid] + [0.0] * x.count
    at = nodes = 0
    while at >= 0:
        nodes += 1
        if nodes % 256 == 0:
            yield None
        if at == x.count:
            yield np.array(pool)
            at -= 1
            continue
        i = order[at]
        if pool[i] >= 0:
            load[pool[i], first[i] : last[i]] -= size[i]
            pool[i] = -1
        if turn[at] == len(choices[i]):
            turn[at] = 0
            at -= 1
            continue
        price, k = choices[i][turn[at]]
        turn[at] += 1
        limit = best_cost()
        low = spent[at] + price + tail[at + 1]
        if low > limit - 1 + 1e-3 if whole else low >= limit - 1e-9 * abs(limit):
            turn[at] = len(choices[i])  # the later choices cost more
            continue
        span = load[k, first[i] : last[i]]
        if size[i] == 0 or int(span.max()) + size[i] <= room[k]:
            span += size[i]
            pool[i] = k
            spent[at + 1] = spent[at] + price
            at += 1
