"""Check a plan against its problem. Shares no code with the solvers: it is what they are judged by."""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort

from memory_planner.errors import InvalidPlanError
from memory_planner.plan import Plan
from memory_planner.problem import Buffer, Problem


def validate(problem: Problem, plan: Plan) -> None:
    """Refuse any plan that breaks a rule.

    Raises:
        InvalidPlanError: the first rule broken, with the buffers and numbers concerned.
    """
    if set(plan.placements) != {buffer.name for buffer in problem.buffers}:
        raise InvalidPlanError("the plan does not place exactly the problem's buffers")
    pools = {pool.name: pool for pool in problem.pools}
    peaks = dict.fromkeys(pools, 0)
    held: dict[str, list[tuple[Buffer, int]]] = {name: [] for name in pools}
    shared: dict[str, tuple[str, int]] = {}
    for buffer in problem.buffers:
        place = plan.placements[buffer.name]
        if place.pool not in pools or (buffer.pools and place.pool not in buffer.pools):
            raise InvalidPlanError(f"buffer '{buffer.name}' lies in pool '{place.pool}', which is not allowed")
        pool = pools[place.pool]
        if place.offset < 0 or place.offset % buffer.alignment or place.offset % pool.alignment:
            raise InvalidPlanError(f"buffer '{buffer.name}' lies at {place.offset}: negative or not aligned")
        if buffer.offset is not None and place.offset != buffer.offset:
            raise InvalidPlanError(f"buffer '{buffer.name}' is pinned to {buffer.offset}, the plan says {place.offset}")
        if buffer.group is not None and shared.setdefault(buffer.group, (place.pool, place.offset)) != (
            place.pool,
            place.offset,
        ):
            raise InvalidPlanError(f"alias group '{buffer.group}' does not share one storage")
        end = place.offset + buffer.size_bytes
        if pool.size_bytes is not None and end > pool.size_bytes:
            raise InvalidPlanError(f"buffer '{buffer.name}' ends at {end}, past pool '{pool.name}' ({pool.size_bytes})")
        peaks[pool.name] = max(peaks[pool.name], end)
        held[pool.name].append((buffer, place.offset))
    if dict(plan.peak_bytes) != peaks:
        raise InvalidPlanError(f"the plan says its peaks are {dict(plan.peak_bytes)}, they are {peaks}")
    if plan.total_bytes < plan.lower_bound_bytes:
        raise InvalidPlanError(f"peak {plan.total_bytes} is below the claimed bound {plan.lower_bound_bytes}")
    for placed in held.values():
        check_overlap(occupancies(placed))


def occupancies(placed: list[tuple[Buffer, int]]) -> list[tuple[int, int, int, int, str]]:
    """(lower, upper, offset, end, name) of every storage; an alias group is one, from its first birth to last death."""
    result = []
    groups: dict[str, tuple[int, int, int, int, str]] = {}
    for buffer, offset in placed:
        entry = (buffer.lower, buffer.upper, offset, offset + buffer.size_bytes, buffer.name)
        if buffer.group is None:
            result.append(entry)
        elif buffer.group in groups:
            old = groups[buffer.group]
            groups[buffer.group] = (
                min(old[0], entry[0]), max(old[1], entry[1]), offset, max(old[3], entry[3]), old[4]
            )  # fmt: skip
        else:
            groups[buffer.group] = entry
    return [entry for entry in result + list(groups.values()) if entry[3] > entry[2]]


def check_overlap(entries: list[tuple[int, int, int, int, str]]) -> None:
    """Sweep over time; the live storages are kept sorted by offset, so that only neighbours need comparing."""
    live: list[tuple[int, int, str]] = []
    dying: list[tuple[int, int, int, str]] = []
    for lower, upper, offset, end, name in sorted(entries):
        while dying and dying[0][0] <= lower:
            _, old_offset, old_end, old_name = heapq.heappop(dying)
            del live[bisect_left(live, (old_offset, old_end, old_name))]
        at = bisect_left(live, (offset, end, name))
        for near in live[max(0, at - 1) : at + 1]:
            if near[0] < end and offset < near[1]:
                raise InvalidPlanError(
                    f"buffers '{near[2]}' [{near[0]}, {near[1]}) and '{name}' [{offset}, {end}) overlap "
                    f"while both are alive (from time {lower})"
                )
        insort(live, (offset, end, name))
        heapq.heappush(dying, (upper, offset, end, name))
