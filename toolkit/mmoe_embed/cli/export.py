"""`mmoe-embed export`: a checkpoint as an ExecuTorch program."""

import dataclasses
from pathlib import Path
from typing import Any

import rich_click as click

from mmoe_embed.board import load_board
from mmoe_embed.checkpoint import load_checkpoint
from mmoe_embed.cli.extras import load_export, require_executorch
from mmoe_embed.cli.options import board_option, checkpoint_argument, plan_options, plan_request, scheme_option
from mmoe_embed.cli.output import Result, verb
from mmoe_embed.errors import UsageError
from mmoe_embed.plan import choose_scheme


@verb("export")
@checkpoint_argument
@board_option
@click.option("--output", "-o", type=click.Path(path_type=Path), required=True, help="The .pte file.")
@scheme_option
@plan_options
@click.option("--ptd", is_flag=True, help="Paged experts go into a .ptd beside the .pte, not into it.")
@click.option(
    "--dense",
    type=click.Choice(["exact", "xnnpack"]),
    default="exact",
    show_default=True,
    help="Products outside the MoE blocks: by our kernels, or by XNNPACK, which is not bit-exact.",
)
def command(checkpoint: Path, board: str, output: Path, scheme: str, ptd: bool, dense: str, **options: Any) -> Result:
    """Quantize CHECKPOINT and write it as an ExecuTorch program whose logits have the golden's bits.

    With --dense xnnpack they are only close. Experts are computed where they lie in the program, unless the plan
    pages them (--expert-slots or --sram).
    tokenizer.json and generation_config.json are written beside it, config.json for a classifier.
    """
    if options["cache_margin"]:
        raise UsageError("--cache-aware is not for programs yet", try_="leave it out")
    require_executorch()
    target = load_board(board)
    if target.kind not in ("phone", "host"):
        raise UsageError(
            f"{target.name} is no phone: ExecuTorch programs are for boards of kind phone or host",
            try_=f"mmoe-embed build {checkpoint} --board {target.name} -o DIR",
        )
    if output.suffix != ".pte":
        raise UsageError(f"{output} is no .pte file", try_="-o model.pte")
    loaded = load_checkpoint(checkpoint)
    request = dataclasses.replace(plan_request(**options), storage="file", spare_pages=0)
    model, plan = choose_scheme(loaded, target, scheme, request)
    paged = plan.expert_mode == "paged"
    if ptd and not paged:
        raise UsageError("--ptd is for paged experts, this plan pages none", try_="--expert-slots N or --sram as well")
    arenas = load_export().export_program(model, output, plan, beside=ptd, xnnpack=dense == "xnnpack")
    experts = f"paged from the {'.ptd' if ptd else '.pte'}, {plan.slots} slots, {plan.policy}" if paged else "in place"
    size = output.stat().st_size
    text = f"wrote {output}, {size} B: model {model.model_id[:16]} ({model.scheme})"
    text += f"\n  experts {experts}"
    if dense == "xnnpack":
        text += "\n  not bit-exact by design: XNNPACK computes the products outside the MoE blocks"
    for method, arena in arenas.items():
        proof = "proven smallest" if arena.proven else f"lower bound {arena.lower_bound_bytes} B"
        text += f"\n  memory of {method} {arena.size_bytes} B, {proof}; ExecuTorch's greedy {arena.greedy_bytes} B"
    data = {"output": str(output), "size_bytes": size, "model_id": model.model_id, "scheme": model.scheme}
    data |= {"paged": paged, "slots": plan.slots if paged else 0, "policy": plan.policy, "chunk": plan.chunk}
    data |= {"exact": dense == "exact"}
    return Result(data | {"arenas": {name: dataclasses.asdict(arena) for name, arena in arenas.items()}}, text)
