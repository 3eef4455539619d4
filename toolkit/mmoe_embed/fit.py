"""Will it run? One model against many boards: yes or no, by how much, and what a token will cost; needs no compiler."""

import dataclasses
import functools
import re

from mmoe_embed.board import Board, load_board
from mmoe_embed.checkpoint import Checkpoint
from mmoe_embed.errors import FitError, ToolkitError
from mmoe_embed.instructions import count_instructions
from mmoe_embed.plan import BoardPlan, PlanRequest, plan_model
from mmoe_embed.quantize import quantize_checkpoint
from mmoe_embed.quantized import Quantized

FORMULA = (
    "instructions per token = sum over kernels of MACs or elements x (instructions of each in the measured run of "
    "nearest size, kernels_cmsis/results), attention at half the context; page copies and their checksums are not "
    "counted (`mmoe-embed bench model` measures them)",
    "stall per token, at most = missed experts x (expert bytes / read bytes per cycle + read latency) of the expert "
    "memory; missed experts at most = layers x top-k, 0 when all are in slots or read in place",
)


@dataclasses.dataclass(frozen=True)
class Fit:
    """One board's answer; what cannot be known is None.

    Attributes:
        margin_bytes: SRAM left where it fits; less than zero where it does not: the bytes that are missing.
        reason: why not, or what was taken.
        misses_per_token: experts read at most for one token.
        stall_us_per_token: at most; None when the board file has no bandwidth.
    """

    board: str
    fits: bool
    reason: str
    scheme: str | None = None
    margin_bytes: int | None = None
    flash_free_bytes: int | None = None
    expert_mode: str | None = None
    slots: int | None = None
    instructions_per_token: int | None = None
    counted_on: str | None = None
    misses_per_token: int | None = None
    stall_bytes_per_token: int | None = None
    stall_us_per_token: float | None = None


def fit_boards(checkpoint: Checkpoint, boards: list[str], scheme: str, request: PlanRequest) -> list[Fit]:
    """Plan a model on every board; a board that cannot be loaded or planned is an answer too, never an exception.

    Args:
        checkpoint: the model.
        boards: names or paths.
        scheme: "int8", "int4", or "auto": INT8 where it fits, else INT4.
        request: the user's limits.
    """
    quantize = functools.cache(functools.partial(quantize_checkpoint, checkpoint))
    schemes = ("int8", "int4") if scheme == "auto" else (scheme,)
    fits = []
    for name in boards:
        try:
            fits.append(_fit_board(load_board(name), [quantize(s) for s in schemes], request))
        except FitError as error:
            over = re.search(r"\((\d+) B over\)", error.message)
            fits.append(Fit(name, False, error.message, margin_bytes=-int(over[1]) if over else None))
        except ToolkitError as error:
            fits.append(Fit(name, False, f"{error.message}{f', at {error.at}' if error.at else ''}"))
    return fits


def _fit_board(board: Board, models: list[Quantized], request: PlanRequest) -> Fit:
    for number, model in enumerate(models, start=1):
        try:
            return describe_fit(board, model, plan_model(model, board, request))
        except FitError:
            if number == len(models):
                raise
    raise AssertionError("no scheme was tried")


def describe_fit(board: Board, model: Quantized, plan: BoardPlan) -> Fit:
    """What a plan means for its user: margins, and what a token costs."""
    flash = [m for m in board.memory if {"text", "rodata", "experts"}.intersection(m.use) and "w" not in m.access]
    taken = {m.name: sum(r.size_bytes for r in plan.regions if r.memory == m.name) for m in flash}
    counted = count_instructions(board, model)
    misses = count_misses(model, plan)
    return Fit(
        board.name,
        True,
        "; ".join(plan.notes),
        plan.scheme,
        plan.sram_free_bytes,
        sum(m.usable_bytes - taken[m.name] for m in flash) if flash else None,
        plan.expert_mode,
        plan.slots,
        round(counted.total) if counted else None,
        counted.machine if counted else None,
        misses,
        misses * plan.expert_bytes,
        _stall_us(board, plan, misses),
    )


def count_misses(model: Quantized, plan: BoardPlan) -> int:
    """Experts that one token reads from flash, at most."""
    if plan.expert_mode != "paged":
        return 0
    return len(model.config.routed_layers) * model.config.num_experts_per_tok


def _stall_us(board: Board, plan: BoardPlan, misses: int) -> float | None:
    if not misses:
        return 0.0
    memory = next(m for m in board.memory if m.name == plan.memory_of("experts"))
    if memory.read_bytes_per_cycle is None:
        return None
    cycles = misses * (plan.expert_bytes / memory.read_bytes_per_cycle + (memory.read_latency_cycles or 0))
    return round(1e6 * cycles / board.soc.clock_hz, 3)
