"""What experts cost on a board, as far as its board file and the counts of its kernels say."""

import dataclasses

from mmoe_embed.board import Board
from mmoe_embed.instructions import count_instructions
from mmoe_embed.quantized import Quantized
from mmoe_embed.storage import FlashModel

_CHECK_BYTES = 1024  # MMOE_CHECK_BYTES in firmware/src/pager.c


@dataclasses.dataclass(frozen=True)
class Times:
    """How long the parts of a token take, in microseconds; an instruction counts as a cycle.

    Attributes:
        head: from the last layer's experts to the next token.
        layer: of a layer up to its routing.
        shared: of its shared expert.
        expert: of one routed expert.
        check: of one page.
        check_early: the part of it that can be done while the page arrives.
        read: of one page.
    """

    head: float
    layer: float
    shared: float
    expert: float
    check: float
    check_early: float
    read: float


@dataclasses.dataclass(frozen=True)
class ExpertCost:
    """What one use of an expert costs beside its compute.

    Attributes:
        load_us: to read it into a slot and to check it; None where the board file has no bandwidth: then reads are
            counted instead.
        in_place_us: to compute it where it lies; None where that cannot be, or its cost is not known.
        times: of a token's parts; None where the core's kernels are not counted either, or the core waits for reads.
    """

    load_us: float | None = None
    in_place_us: float | None = None
    times: Times | None = None


def expert_cost(
    board: Board, model: Quantized, expert_bytes: int, flash: FlashModel | None, *, in_place: bool
) -> ExpertCost:
    """Cost of a load and of a use in place.

    A use in place reads the expert's weights once from where they lie, which is what a load reads; it needs no check
    and no slot.

    Args:
        board: its memory for experts has `read_bytes_per_cycle` where that is known.
        model: what a token computes.
        expert_bytes: of one expert.
        flash: the modelled flash in front of the memory, if there is one.
        in_place: whether experts can be computed where they lie.
    """
    memory = board.memory_for("experts")
    clock_hz = board.core.clock_hz or board.soc.clock_hz  # 0 where a devicetree does not say
    if flash is not None:
        read_us = flash.latency_ns / 1e3 + 1e6 * expert_bytes / flash.bytes_per_s
        cycle_us = flash.instruction_ns / 1e3
    elif memory.read_bytes_per_cycle is not None and clock_hz:
        cycle_us = 1e6 / clock_hz
        read_us = cycle_us * (expert_bytes / memory.read_bytes_per_cycle + (memory.read_latency_cycles or 0))
    else:
        return ExpertCost()
    counted = count_instructions(board, model)
    if counted is None:
        return ExpertCost(read_us, read_us if in_place else None)
    check_us = cycle_us * expert_bytes * counted.checksum
    times = Times(
        head=cycle_us * counted.head,
        layer=cycle_us * counted.layer,
        shared=cycle_us * counted.shared,
        expert=cycle_us * counted.expert,
        check=check_us,
        check_early=check_us * max(0, expert_bytes - _CHECK_BYTES) / max(1, expert_bytes),
        read=read_us,
    )
    waits = flash is not None and flash.blocking
    return ExpertCost(read_us + check_us, read_us if in_place else None, None if waits else times)
