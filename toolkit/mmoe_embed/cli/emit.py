"""`mmoe-embed emit`: the model as C."""

from pathlib import Path
from typing import Any

import rich_click as click

from mmoe_embed.adopt import record_emission
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
from mmoe_embed.emit.writer import emit_model, write_files
from mmoe_embed.plan import choose_scheme
from mmoe_embed.resources import hash_sources


@verb("emit")
@checkpoint_argument
@board_option
@scheme_option
@plan_options
@storage_options
@other_ram_option
@click.option("--output", "-o", type=click.Path(path_type=Path), required=True, help="Folder for the emitted files.")
@click.option(
    "--record",
    type=click.Path(path_type=Path),
    help="For another build system: the folder above, for what `adopt` needs and a depfile (emit.d).",
)
def command(
    checkpoint: Path,
    board: str,
    scheme: str,
    output: Path,
    record: Path | None,
    **options: Any,
) -> Result:
    """Write CHECKPOINT as C for a board: model.c, weights, expert image. Needs no compiler."""
    target = load_board(board)
    loaded = load_checkpoint(checkpoint)
    model, plan = choose_scheme(loaded, target, scheme, plan_request(**options))
    emitted = emit_model(model, plan, hash_sources())
    write_files(emitted.files, check_output(output))
    if record is not None:
        record_emission(record, output, checkpoint, board, loaded, model, emitted)
    files = {name: len(content) for name, content in emitted.files.items()}
    lines = [f"{output}: model {model.model_id[:16]}, build {emitted.build_id[:16]}"]
    lines += [f"  {name:<12} {size:>9} B" for name, size in files.items()]
    return Result(
        {"output": str(output), "model_id": model.model_id, "build_id": emitted.build_id, "files": files},
        "\n".join(lines),
    )
