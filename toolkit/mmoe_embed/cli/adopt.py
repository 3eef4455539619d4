"""`mmoe-embed adopt`: an image linked by another build system, as a build folder."""

from pathlib import Path

import rich_click as click

from mmoe_embed.adopt import adopt_image
from mmoe_embed.cli.output import Result, verb


@verb("adopt")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--elf", type=click.Path(path_type=Path), required=True, help="The linked image.")
def command(folder: Path, elf: Path) -> Result:
    """Complete FOLDER, where `emit --record` has been, with an image that another build system linked (CMake, Zephyr).

    Then `flash`, `validate`, `run` and `accuracy` take FOLDER as they take one of `mmoe-embed build`.
    """
    build = adopt_image(folder, elf)
    sizes, plan = build.record["sizes"], build.plan
    bound = f", bound {sizes['stack_bound']} B" if sizes["stack_bound"] else ""
    lines = [
        f"adopted {elf} into {folder}",
        f"  model {build.model_id[:16]} ({plan['scheme']}), build {build.build_id[:16]}",
        f"  text {sizes['text']} B, data {sizes['data']} B, stack {plan['stack_bytes']} B{bound}",
        f"  arena {plan['arena_bytes']} B",
        f"  experts {plan['expert_mode']}: {plan['slots']} slots, {plan['expert_count']} of {plan['expert_bytes']} B",
    ]
    return Result({**build.record, "output": str(build.path), "plan": plan}, "\n".join(lines))
