"""`mmoe-embed emit`: the model as C."""

from pathlib import Path
from typing import Any

import rich_click as click

from mmoe_embed.board import load_board
from mmoe_embed.checkpoint import load_checkpoint
from mmoe_embed.cli.options import (
    board_option,
    check_output,
    checkpoint_argument,
    plan_options,
    plan_request,
    scheme_option,
    storage_options,
)
from mmoe_embed.cli.output import Result, verb
from mmoe_embed.emit.writer import emit_model, write_files
from mmoe_embed.plan import choose_scheme
from mmoe_embed.resources import hash_sources


@verb("emit")
@checkpoint_argument
@board_option
@scheme_option
@plan_options
@storage_options
@click.option("--output", "-o", type=click.Path(path_type=Path), required=True, help="Folder for the emitted files.")
def command(
    checkpoint: Path,
    board: str,
    scheme: str,
    output: Path,
    **options: Any,
) -> Result:
    """Write CHECKPOINT as C for a board: model.c, weights, expert image. Needs no compiler."""
    target = load_board(board)
    model, plan = choose_scheme(load_checkpoint(checkpoint), target, scheme, plan_request(**options))
    emitted = emit_model(model, plan, hash_sources())
    write_files(emitted.files, check_output(output))
    files = {name: len(content) for name, content in emitted.files.items()}
    lines = [f"{output}: model {model.model_id[:16]}, build {emitted.build_id[:16]}"]
    lines += [f"  {name:<12} {size:>9} B" for name, size in files.items()]
    return Result(
        {"output": str(output), "model_id": model.model_id, "build_id": emitted.build_id, "files": files},
        "\n".join(lines),
    )
