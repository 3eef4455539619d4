"""`mmoe-embed export`: a checkpoint as an ExecuTorch program."""

import dataclasses
import importlib.util
import warnings
from pathlib import Path

import rich_click as click

from mmoe_embed.board import load_board
from mmoe_embed.checkpoint import load_checkpoint
from mmoe_embed.cli.options import board_option, checkpoint_argument, scheme_option
from mmoe_embed.cli.output import Result, verb
from mmoe_embed.errors import ToolchainError, UsageError
from mmoe_embed.plan import PlanRequest, choose_scheme


@verb("export")
@checkpoint_argument
@board_option
@click.option("--output", "-o", type=click.Path(path_type=Path), required=True, help="The .pte file.")
@scheme_option
def command(checkpoint: Path, board: str, output: Path, scheme: str) -> Result:
    """Quantize CHECKPOINT and write it as an ExecuTorch program whose logits have the golden's bits.

    tokenizer.json and generation_config.json are written beside it.
    """
    if importlib.util.find_spec("executorch") is None:
        raise ToolchainError("ExecuTorch is not installed", try_="pip install 'mmoe-embed[phone]'")
    target = load_board(board)
    if target.kind not in ("phone", "host"):
        raise UsageError(
            f"{target.name} is no phone: ExecuTorch programs are for boards of kind phone or host",
            try_=f"mmoe-embed build {checkpoint} --board {target.name} -o DIR",
        )
    if output.suffix != ".pte":
        raise UsageError(f"{output} is no .pte file", try_="-o model.pte")
    loaded = load_checkpoint(checkpoint)
    if loaded.config.is_classifier:
        raise UsageError("a classifier is not exported as a program yet", at=str(checkpoint), try_="mmoe-embed build")
    model, _ = choose_scheme(loaded, target, scheme, PlanRequest())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ExecuTorch and PyTorch warn of their own deprecated calls
        from mmoe_embed.executorch.export import export_program

        (arena,) = export_program(model, output)
    size = output.stat().st_size
    proof = "proven smallest" if arena.proven else f"lower bound {arena.lower_bound_bytes} B"
    text = (
        f"wrote {output}, {size} B: model {model.model_id[:16]} ({model.scheme})\n"
        f"  planned memory with KV cache {arena.size_bytes} B, {proof}; ExecuTorch's greedy {arena.greedy_bytes} B"
    )
    data = {"output": str(output), "size_bytes": size, "model_id": model.model_id, "scheme": model.scheme}
    return Result(data | {"arena": dataclasses.asdict(arena)}, text)
