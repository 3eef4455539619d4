"""`mmoe-embed fit`: will it run?"""

import dataclasses
from pathlib import Path
from typing import Any

import rich_click as click

from mmoe_embed.board import list_boards, load_board
from mmoe_embed.checkpoint import load_checkpoint
from mmoe_embed.cli.options import checkpoint_argument, plan_options, plan_request, scheme_option
from mmoe_embed.cli.output import Result, verb
from mmoe_embed.errors import FitError
from mmoe_embed.fit import FORMULA, Fit, fit_boards


@verb("fit")
@checkpoint_argument
@click.option("--board", "-b", "boards", multiple=True, metavar="BOARD", help="Only this board; may be given often.")
@scheme_option
@plan_options
def command(
    checkpoint: Path,
    boards: tuple[str, ...],
    scheme: str,
    **options: Any,
) -> Result:
    """Say of every board whether CHECKPOINT runs on it, by what margin, and what a token costs. Needs no compiler.

    Exit code 3 when it does not run on a board that --board names.
    """
    request = plan_request(**options)
    for board in boards:
        load_board(board)  # one that is asked for by name must be there
    fits = fit_boards(load_checkpoint(checkpoint), list(boards) or list_boards(), scheme, request)
    data = {"boards": [dataclasses.asdict(fit) for fit in fits], "formula": list(FORMULA)}
    refused = [f"{fit.board}: {fit.reason}" for fit in fits if boards and not fit.fits]
    code = FitError.exit_code if refused else 0
    return Result(data, render_fits(fits), exit_code=code, failure="; ".join(refused))


_COLUMNS = (
    "board", "fits", "scheme", "SRAM free", "flash free", "experts", "instr/token", "reads/token", "stall/token",
    "tok/s at most",
)  # fmt: skip


def render_fits(fits: list[Fit]) -> str:
    """A table; a board that does not fit has its reason instead."""
    rows = [_COLUMNS, *(_cells(fit) for fit in fits if fit.fits)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_COLUMNS))]
    widths[0] = max(len(_COLUMNS[0]), *(len(fit.board) for fit in fits))
    lines = [_line(_COLUMNS, widths)]
    for fit in fits:
        cells = _cells(fit) if fit.fits else (fit.board, "no", fit.reason)
        lines.append(_line(cells, widths))
    lines += [f"note: {fit.board}: {fit.reason}" for fit in fits if fit.fits and fit.reason]
    lines += [f"note: {line}" for line in FORMULA]
    return "\n".join(
        [*lines, "note: ? is not known; free in bytes; a runtime of usual size is assumed until it is built"]
    )


def _cells(fit: Fit) -> tuple[str, ...]:
    experts = f"{fit.expert_mode}" + (f", {fit.slots} slots" if fit.slots else "")
    sizes = (_number(fit.margin_bytes), _number(fit.flash_free_bytes))
    reads = "?" if fit.reads_per_token is None else f"{fit.reads_per_token:.3g}"
    most = "?" if fit.most_tokens_per_s is None else f"{fit.most_tokens_per_s:,.0f}"
    costs = (_number(fit.instructions_per_token), reads, _stall(fit), most)
    return (fit.board, "yes", fit.scheme or "", *sizes, experts, *costs)


def _stall(fit: Fit) -> str:
    if fit.reads_per_token == 0:
        return "0"
    if fit.stall_us_per_token is not None:
        return f"{fit.stall_us_per_token:,.0f} us"
    if fit.stall_instructions_per_token is not None:
        return f"{fit.stall_instructions_per_token:,} instr"
    return "?"


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    return "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=False)).rstrip()


def _number(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"
