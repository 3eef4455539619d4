"""What a use of an expert costs on a board, as far as its board file says."""

from mmoe_embed.board import Board
from mmoe_embed.paging.choose import ExpertCost
from mmoe_embed.storage import FlashModel

# Of a page's CRC-32: kernels_cmsis/results, mmoe_crc32 on a Cortex-M4, taken for cycles.
_CHECK_CYCLES_PER_BYTE = 4.6


def expert_cost(board: Board, expert_bytes: int, flash: FlashModel | None, *, in_place: bool) -> ExpertCost:
    """Cost of a load and of a use in place.

    A use in place reads the expert's weights once from where they lie, which is what a load reads; it needs no check
    and no slot.

    Args:
        board: its memory for experts has `read_bytes_per_cycle` where that is known.
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
    check_us = cycle_us * expert_bytes * _CHECK_CYCLES_PER_BYTE
    return ExpertCost(read_us + check_us, read_us if in_place else None)
