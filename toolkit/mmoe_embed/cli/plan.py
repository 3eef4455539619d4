"""`mmoe-embed plan`: where every byte lives."""

import dataclasses
from pathlib import Path
from typing import Any

import rich_click as click

from mmoe_embed.arena import draw_arena
from mmoe_embed.board import load_board
from mmoe_embed.checkpoint import load_checkpoint
from mmoe_embed.cli.options import (
    board_option,
    check_output,
    checkpoint_argument,
    other_ram_option,
    plan_options,
    plan_request,
    scheme_option,
    storage_options,
)
from mmoe_embed.cli.output import Result, verb
from mmoe_embed.emit.writer import write_files
from mmoe_embed.plan import choose_scheme


@verb("plan")
@checkpoint_argument
@board_option
@scheme_option
@plan_options
@storage_options
@other_ram_option
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Folder for plan.json and arena.svg.")
def command(
    checkpoint: Path,
    board: str,
    scheme: str,
    output: Path | None,
    **options: Any,
) -> Result:
    """Decide where CHECKPOINT lives on a board: arena, KV cache, expert slots, flash. Needs no compiler."""
    target = load_board(board)
    model, plan = choose_scheme(load_checkpoint(checkpoint), target, scheme, plan_request(**options))
    text = plan.summary()
    if output is not None:
        files = {"plan.json": plan.to_json(), "arena.svg": draw_arena(model, plan.chunk)}
        write_files({name: text.encode() for name, text in files.items()}, check_output(output))
        text += f"\n  written: {output / 'plan.json'}, {output / 'arena.svg'}"
    return Result(dataclasses.asdict(plan), text)
