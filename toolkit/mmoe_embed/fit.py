"""Will it run? One model against many boards: yes or no, by how much, and what a token will cost; needs no compiler."""

import dataclasses
import functools
import re

from mmoe_embed.board import Board, load_board
from mmoe_embed.checkpoint import Checkpoint
from mmoe_embed.errors import FitError, ToolkitError
from mmoe_embed.instructions import COPYING_STORAGE, count_instructions
from mmoe_embed.plan import BoardPlan, PlanRequest, plan_model
from mmoe_embed.quantize import quantize_checkpoint
from mmoe_embed.quantized import Quantized
from mmoe_embed.traffic import count_dram_us, count_storage_us, count_token_bytes

FORMULA = (
    "instr/token: a decoded token at half the context with its experts at hand, every kernel of it by its counts on an "
    "emulated core (kernels_cmsis/results); `mmoe-embed bench model` compares this with a running board",
    "reads/token: experts read from flash, at most layers x top-k; with --trace what the plan promises; 0 when all are "
    "in slots or computed in place",
    "stall/token: what these reads take: time where the board file has the bandwidth of the memory; else the "
    "instructions of copy and CRC-32, without the wait states of a real flash",
    "tok/s at most: phones: every weight that a token touches, and half the context's keys and values, once through "
    "the DRAM at its peak, then the experts that are not in slots through the storage; computing is not counted",
)


_OVER = re.compile(r"\((\d+) B over\)")


@dataclasses.dataclass(frozen=True)
class Fit:
    """One board's answer; what cannot be known is None.

    Attributes:
        margin_bytes: SRAM left where it fits; less than zero where it does not: the bytes that are missing.
        reason: why not, or what was taken.
        instructions_per_token: at half the context, experts at hand.
        counted_on: the machine on which the kernels were counted.
        reads_per_token: experts read from flash for one token: at most, or as promised for a trace.
        stall_instructions_per_token: copy and CRC-32 of these reads.
        stall_us_per_token: of these reads; None when the board file has no bandwidth.
        most_tokens_per_s: what DRAM and storage allow; None where the board file does not have their rates.
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
    reads_per_token: float | None = None
    stall_bytes_per_token: int | None = None
    stall_instructions_per_token: int | None = None
    stall_us_per_token: float | None = None
    most_tokens_per_s: float | None = None


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
            over = _OVER.search(error.message)
            fits.append(Fit(name, False, error.message, margin_bytes=-int(over[1]) if over else None))
        except ToolkitError as error:
            fits.append(Fit(name, False, f"{error.message}{f', at {error.at}' if error.at else ''}"))
    return fits


def _fit_board(board: Board, models: list[Quantized], request: PlanRequest) -> Fit:
    refused = ""
    for number, model in enumerate(models, start=1):
        try:
            fit = describe_fit(board, model, plan_model(model, board, request))
        except FitError as error:
            if number == len(models):
                raise
            over = _OVER.search(error.message)
            refused = f"{model.scheme.upper()} does not fit{f' ({over[1]} B over)' if over else ''}"
            continue
        reasons = [reason for reason in (refused, fit.reason) if reason]
        return dataclasses.replace(fit, reason="; ".join(reasons))
    raise AssertionError("no scheme was tried")


def describe_fit(board: Board, model: Quantized, plan: BoardPlan) -> Fit:
    """What a plan means for its user: margins, and what a token costs."""
    flash = [m for m in board.memory if {"text", "rodata", "experts"}.intersection(m.use) and "w" not in m.access]
    taken = {m.name: sum(r.size_bytes for r in plan.regions if r.memory == m.name) for m in flash}
    counted = count_instructions(board, model, copies=plan.storage in COPYING_STORAGE)
    reads = count_reads(model, plan)
    stall_us = _stall_us(board, plan, reads)
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
        reads,
        round(reads * plan.expert_bytes),
        round(reads * counted.read) if counted else None,
        stall_us,
        _most_tokens_per_s(board, model, stall_us),
    )


def count_reads(model: Quantized, plan: BoardPlan) -> float:
    """Experts that one token reads from flash: as promised for a trace, else at most."""
    if plan.promise is not None:
        return plan.promise.misses_per_token
    if plan.expert_mode != "paged":
        return 0
    return len(model.config.routed_layers) * model.config.num_experts_per_tok


def _most_tokens_per_s(board: Board, model: Quantized, stall_us: float | None) -> float | None:
    positions = model.config.max_position_embeddings // 2
    dram_us = count_dram_us(board, count_token_bytes(model.config, model.scheme, positions))
    return None if dram_us is None or stall_us is None else round(1e6 / (dram_us + stall_us), 1)


def _stall_us(board: Board, plan: BoardPlan, reads: float) -> float | None:
    if not reads:
        return 0.0
    if board.kind == "phone":
        return count_storage_us(board, reads, plan.expert_bytes)
    memory = next(m for m in board.memory if m.name == plan.memory_of("experts"))
    if memory.read_bytes_per_cycle is None:
        return None
    cycles = reads * (plan.expert_bytes / memory.read_bytes_per_cycle + (memory.read_latency_cycles or 0))
    return round(1e6 * cycles / board.soc.clock_hz, 3)
