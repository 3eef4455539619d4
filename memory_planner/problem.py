"""What is to be placed, and where it may lie."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import lcm

from memory_planner.errors import (
    AlignmentError,
    ContradictionError,
    DuplicateNameError,
    LifetimeError,
    OverflowSizeError,
    OversizeError,
    PinConflictError,
    SizeError,
    UnknownNameError,
)

LIMIT = 2**63
SUM_LIMIT = 2**62  # so that a capacity plus a bound still fits 63 bits


@dataclass(frozen=True)
class Buffer:
    """One region of memory that must hold its bytes over a lifetime.

    Args:
        name: unique in its problem.
        size_bytes: >= 0.
        lower, upper: half-open lifetime [lower, upper) in any integer clock, lower < upper.
        alignment: the offset is a multiple of it; >= 1.
        pools: names of the pools it may lie in; empty means any.
        offset: pinned here; None leaves it to the solver.
        group: buffers of one alias group share one storage (one pool, one offset), kept from the first
            member's birth to the last one's death and as large as the largest.
        reads, writes: how often the whole buffer is read and written, for the cost of a pool.
    """

    name: str
    size_bytes: int
    lower: int
    upper: int
    alignment: int = 1
    pools: tuple[str, ...] = ()
    offset: int | None = None
    group: str | None = None
    reads: int = 1
    writes: int = 1


@dataclass(frozen=True)
class Pool:
    """One memory.

    Args:
        size_bytes: None means unbounded.
        alignment: every offset in the pool is a multiple of it.
        read_cost, write_cost: per byte, in any unit, >= 0.
    """

    name: str
    size_bytes: int | None
    alignment: int = 1
    read_cost: float = 1.0
    write_cost: float = 1.0


DEFAULT_POOL = Pool("arena", None)


@dataclass(frozen=True)
class Problem:
    """Buffers and pools; checked when made, so that every solver may trust it.

    Raises:
        PlannerError: one of the named kinds; the message names the buffer and both numbers.
    """

    buffers: tuple[Buffer, ...]
    pools: tuple[Pool, ...] = field(default=(DEFAULT_POOL,))

    def __post_init__(self) -> None:
        object.__setattr__(self, "buffers", tuple(self.buffers))
        object.__setattr__(self, "pools", tuple(self.pools))
        check_pools(self.pools)
        pools = {pool.name: pool for pool in self.pools}
        seen: set[str] = set()
        total = 0
        for buffer in self.buffers:
            if buffer.name in seen:
                raise DuplicateNameError(f"buffer '{buffer.name}' appears twice: names must be unique")
            seen.add(buffer.name)
            check_buffer(buffer)
            check_fit(buffer, pools)
            total += buffer.size_bytes + buffer.alignment - 1
        if total >= SUM_LIMIT:
            raise OverflowSizeError(f"sizes with padding add up to {total} B, at or past 2^62: no sum may overflow")
        check_groups(self.buffers)
        check_pins(self)

    @cached_property
    def buffer_by_name(self) -> Mapping[str, Buffer]:
        return {buffer.name: buffer for buffer in self.buffers}

    @cached_property
    def pool_by_name(self) -> Mapping[str, Pool]:
        return {pool.name: pool for pool in self.pools}

    def pools_of(self, buffer: Buffer) -> tuple[Pool, ...]:
        """The pools that the buffer may lie in, in the problem's order."""
        if not buffer.pools:
            return self.pools
        return tuple(pool for pool in self.pools if pool.name in buffer.pools)


def check_whole(value: object, what: str, minimum: int | None) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise SizeError(f"{what} is {value!r}: must be a whole number")
    if abs(value) >= LIMIT:
        raise OverflowSizeError(f"{what} is {value}: at or past 2^63")
    if minimum is not None and value < minimum:
        raise SizeError(f"{what} is {value}: must be at least {minimum}")


def check_alignment(value: object, what: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise AlignmentError(f"{what} is {value!r}: must be a whole number, at least 1")
    if value >= LIMIT:
        raise OverflowSizeError(f"{what} is {value}: at or past 2^63")


def check_pools(pools: tuple[Pool, ...]) -> None:
    if not pools:
        raise UnknownNameError("no pool given: a problem needs at least one")
    names: set[str] = set()
    for pool in pools:
        if pool.name in names:
            raise DuplicateNameError(f"pool '{pool.name}' appears twice: names must be unique")
        names.add(pool.name)
        if pool.size_bytes is not None:
            check_whole(pool.size_bytes, f"size of pool '{pool.name}'", 0)
        check_alignment(pool.alignment, f"alignment of pool '{pool.name}'")
        for cost in (pool.read_cost, pool.write_cost):
            if not 0 <= cost < float("inf"):
                raise SizeError(f"cost of pool '{pool.name}' is {cost}: must be finite and not negative")


def check_buffer(buffer: Buffer) -> None:
    what = f"of buffer '{buffer.name}'"
    check_whole(buffer.size_bytes, f"size {what}", 0)
    check_whole(buffer.lower, f"lower {what}", None)
    check_whole(buffer.upper, f"upper {what}", None)
    check_alignment(buffer.alignment, f"alignment {what}")
    check_whole(buffer.reads, f"reads {what}", 0)
    check_whole(buffer.writes, f"writes {what}", 0)
    if buffer.lower >= buffer.upper:
        raise LifetimeError(
            f"lifetime {what} is [{buffer.lower}, {buffer.upper}): lower must be below upper (half-open)"
        )
    if buffer.offset is not None:
        check_whole(buffer.offset, f"offset {what}", 0)
        check_whole(buffer.offset + buffer.size_bytes, f"pinned end {what}", 0)
        if buffer.offset % buffer.alignment:
            raise AlignmentError(
                f"offset {what} is pinned to {buffer.offset}: not a multiple of its alignment {buffer.alignment}"
            )


def check_fit(buffer: Buffer, pools: Mapping[str, Pool]) -> None:
    for name in buffer.pools:
        if name not in pools:
            raise UnknownNameError(f"buffer '{buffer.name}' names pool '{name}': the problem has {', '.join(pools)}")
    allowed = [pools[name] for name in buffer.pools] or list(pools.values())
    if any(pool.size_bytes is None for pool in allowed):
        return
    largest = max(pool.size_bytes or 0 for pool in allowed)
    if buffer.size_bytes > largest:
        raise OversizeError(
            f"buffer '{buffer.name}' needs {buffer.size_bytes} B, the largest pool it may lie in has {largest} B "
            f"({buffer.size_bytes - largest} B over): enlarge a pool or split the buffer"
        )


def check_groups(buffers: tuple[Buffer, ...]) -> None:
    groups: dict[str, list[Buffer]] = defaultdict(list)
    for buffer in buffers:
        if buffer.group is not None:
            groups[buffer.group].append(buffer)
    for name, members in groups.items():
        pins = {m.offset for m in members if m.offset is not None}
        if len(pins) > 1:
            raise ContradictionError(f"alias group '{name}' is pinned to {sorted(pins)}: one storage has one offset")
        allowed = [set(m.pools) for m in members if m.pools]
        if allowed and not set.intersection(*allowed):
            raise ContradictionError(f"alias group '{name}': no pool is allowed for all its members")
        alignment = lcm(*(m.alignment for m in members))
        if alignment >= LIMIT:
            raise OverflowSizeError(f"alias group '{name}': common alignment {alignment} is at or past 2^63")
        for pin in pins:
            if pin is not None and pin % alignment:
                raise AlignmentError(
                    f"alias group '{name}' is pinned to {pin}: not a multiple of its common alignment {alignment}"
                )


def check_pins(problem: Problem) -> None:
    pinned = [b for b in problem.buffers if b.offset is not None]
    for buffer in pinned:
        assert buffer.offset is not None
        fitting = [
            pool
            for pool in problem.pools_of(buffer)
            if buffer.offset % pool.alignment == 0
            and (pool.size_bytes is None or buffer.offset + buffer.size_bytes <= pool.size_bytes)
        ]
        if not fitting:
            raise PinConflictError(
                f"buffer '{buffer.name}' is pinned to [{buffer.offset}, {buffer.offset + buffer.size_bytes}): "
                "outside every pool it may lie in"
            )
    pinned = [b for b in pinned if b.size_bytes and len(problem.pools_of(b)) == 1]
    pinned.sort(key=lambda b: (b.lower, b.name))
    active: list[Buffer] = []
    for buffer in pinned:
        active = [a for a in active if a.upper > buffer.lower]
        for other in active:
            assert buffer.offset is not None
            assert other.offset is not None
            if (
                problem.pools_of(buffer) == problem.pools_of(other)
                and (buffer.group is None or buffer.group != other.group)
                and buffer.offset < other.offset + other.size_bytes
                and other.offset < buffer.offset + buffer.size_bytes
            ):
                raise PinConflictError(
                    f"buffers '{other.name}' and '{buffer.name}' are pinned to overlapping addresses "
                    f"({other.offset} and {buffer.offset}) while both are alive"
                )
        active.append(buffer)
