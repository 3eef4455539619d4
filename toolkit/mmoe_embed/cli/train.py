"""`mmoe-embed train`."""

import dataclasses
from pathlib import Path

import rich_click as click

from mmoe_embed.cli.output import Result, console, training_extra, verb


@verb("train")
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder to write into.",
)
@click.option("--resume", is_flag=True, help="Go on with the interrupted run in the folder.")
def command(recipe: Path, output: Path, resume: bool) -> Result:
    """Train a model as RECIPE (a TOML file) says.

    The same recipe and data give the same bits on one machine.
    Ctrl-C keeps everything; --resume goes on as if it had not come.
    """
    with training_extra():
        from mmoe_embed.train.loop import train_recipe  # noqa: PLC0415 - PyTorch is an extra
    result = train_recipe(recipe, output, resume=resume, console=console)
    exact = "".join(f"\nexact match after {name}: {share:.1%}" for name, share in result.exact_match.items())
    held_out = "".join(
        f"\nheld out after {stage}: {source} {found.bits_per_byte:.4f} bits a byte, {found.loss:.4f} nats a token"
        for stage, sources in result.held_out.items()
        for source, found in sources.items()
    )
    return Result(
        {
            "checkpoint": str(result.checkpoint),
            "metrics": str(result.metrics),
            "parameters": result.parameters,
            "exact_match": result.exact_match,
            "held_out": {
                stage: {source: dataclasses.asdict(found) for source, found in sources.items()}
                for stage, sources in result.held_out.items()
            },
        },
        f"{result.checkpoint}: {result.parameters:,} parameters{exact}{held_out}",
    )
