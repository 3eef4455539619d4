"""`mmoe-embed build`: checkpoint to ELF."""

from pathlib import Path
from typing import Any

import rich_click as click

from mmoe_embed.build import BuildRequest, build_firmware
from mmoe_embed.cli.options import (
    board_option,
    checkpoint_argument,
    plan_options,
    plan_request,
    scheme_option,
    storage_options,
)
from mmoe_embed.cli.output import Result, console, verb
from mmoe_embed.toolchain import COMPILERS


@verb("build")
@checkpoint_argument
@board_option
@click.option("--output", "-o", type=click.Path(path_type=Path), required=True, help="The build folder.")
@scheme_option
@plan_options
@storage_options
@click.option("--compiler", type=click.Choice(COMPILERS), help="Default: the first that is installed.")
@click.option("--clean", is_flag=True, help="Empty a build folder that was made from other inputs, and start over.")
def command(
    checkpoint: Path,
    board: str,
    output: Path,
    scheme: str,
    compiler: str | None,
    clean: bool,
    **options: Any,
) -> Result:
    """Quantize, plan, emit and compile CHECKPOINT for a board. What did not change is not done again."""
    request = BuildRequest(checkpoint, board, output, scheme, plan_request(**options), compiler, clean)
    build = build_firmware(request, console)
    sizes = build.record["sizes"]
    plan = build.plan
    lines = [
        f"built {build.elf} for {plan['board']} with {build.record['compiler']}",
        f"  model {build.model_id[:16]} ({plan['scheme']}), build {build.build_id[:16]}",
        f"  text {sizes['text']} B, data {sizes['data']} B, stack {plan['stack_bytes']} B"
        + (f" (bound {sizes['stack_bound']} B)" if sizes["stack_bound"] else ""),
        f"  arena {plan['arena_bytes']} B",
        f"  experts {plan['expert_mode']}: {plan['slots']} slots, {plan['expert_count']} of {plan['expert_bytes']} B",
        f"  SRAM {plan['sram_used_bytes']} B used, {plan['sram_free_bytes']} B free",
        *(f"  note: {note}" for note in plan["notes"]),
    ]
    return Result({**build.record, "output": str(build.path), "plan": plan}, "\n".join(lines))
