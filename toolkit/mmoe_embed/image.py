"""The whole image as one planning problem: code, weights, data, stack, arena, KV cache and slots over all memories."""

import dataclasses
from collections.abc import Mapping, Sequence

import memory_planner
from mmoe_embed.board import Board, Memory, Use
from mmoe_embed.errors import FitError

# Cycles a byte where the board file does not say: only their order matters.
_KIND_COST = {"tcm": 1.0, "sram": 2.0, "dram": 4.0, "psram": 8.0}
_FLASH_COST = 16.0


@dataclasses.dataclass(frozen=True)
class Part:
    """One static array or section of the image.

    Attributes:
        reads, writes: how often a token reads and writes all of it; decides who gets the faster memory.
    """

    use: Use
    size_bytes: int
    reads: int = 1
    writes: int = 0


@dataclasses.dataclass(frozen=True)
class Region:
    """One thing that takes room in one memory."""

    use: Use
    memory: str
    size_bytes: int


def image_problem(board: Board, parts: Sequence[Part]) -> memory_planner.Problem:
    """Memories are pools with their access costs, parts are buffers that live for ever.

    Raises:
        ToolkitError: the board has no memory for a use.
        PlannerError: a part is larger than every memory it may lie in.
    """
    pools = tuple(memory_planner.Pool(m.name, m.usable_bytes, 1, *_costs(m)) for m in board.memory if m.use)
    buffers = []
    for part in parts:
        board.memory_for(part.use)
        allowed = tuple(m.name for m in board.memory if part.use in m.use)
        buffers.append(
            memory_planner.Buffer(part.use, part.size_bytes, 0, 1, pools=allowed, reads=part.reads, writes=part.writes)
        )
    return memory_planner.Problem(tuple(buffers), pools)


def place_image(board: Board, parts: Sequence[Part], advice: Mapping[Use, str]) -> tuple[Region, ...]:
    """Put every part into a memory, at the smallest access cost under every memory's size.

    Args:
        advice: what to try when a use does not fit.

    Raises:
        FitError: the first part that fits with none of the ways to place those before it.
    """
    regions = _assign(board, parts)
    if regions is not None:
        return regions
    for count in range(1, len(parts) + 1):
        if _assign(board, parts[:count]) is None:
            raise _describe_misfit(board, parts[:count], advice)
    raise AssertionError("all parts fit, yet not together with themselves")


def fits(board: Board, parts: Sequence[Part]) -> bool:
    """Whether every part finds a memory."""
    return _assign(board, parts) is not None


def free_bytes(board: Board, regions: Sequence[Region]) -> dict[str, int]:
    """What is left of each memory."""
    taken = {memory.name: 0 for memory in board.memory}
    for region in regions:
        taken[region.memory] += region.size_bytes
    return {memory.name: memory.usable_bytes - taken[memory.name] for memory in board.memory}


def _costs(memory: Memory) -> tuple[float, float]:
    kind = _KIND_COST.get(memory.kind, _FLASH_COST)
    read, write = memory.read_bytes_per_cycle, memory.write_bytes_per_cycle
    return (1 / read if read else kind), (1 / write if write else kind)


def _assign(board: Board, parts: Sequence[Part]) -> tuple[Region, ...] | None:
    try:
        plan = memory_planner.solve(image_problem(board, parts))
    except (memory_planner.CapacityError, memory_planner.OversizeError):
        return None
    return tuple(Region(part.use, plan.placements[part.use].pool, part.size_bytes) for part in parts)


def _describe_misfit(board: Board, parts: Sequence[Part], advice: Mapping[Use, str]) -> FitError:
    *placed, last = parts
    regions = _assign(board, placed) or ()
    free = free_bytes(board, regions)
    best = max((m for m in board.memory if last.use in m.use), key=lambda m: free[m.name])
    room = max(0, free[best.name])
    taken = ", ".join(f"{r.use} {r.size_bytes} B" for r in regions if r.memory == best.name)
    return FitError(
        f"{last.use} does not fit {board.name}: needs {last.size_bytes} B, has {room} B "
        f"({last.size_bytes - room} B over)",
        at=f"memory {best.name} of {best.usable_bytes} B" + (f", which holds {taken}" if taken else ""),
        try_=advice[last.use],
    )
