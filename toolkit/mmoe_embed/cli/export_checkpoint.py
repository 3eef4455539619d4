"""`mmoe-embed export-checkpoint`: an imported checkpoint back to its Hugging Face directory."""

from pathlib import Path

import rich_click as click

from mmoe_embed.cli.options import checkpoint_argument
from mmoe_embed.cli.output import Result, count_up, verb
from mmoe_embed.huggingface import export_checkpoint


@verb("export-checkpoint")
@checkpoint_argument
@click.option("--output", "-o", type=click.Path(path_type=Path), required=True, help="A folder that is new or empty.")
def command(checkpoint: Path, output: Path) -> Result:
    """Write CHECKPOINT, which was imported, as the Hugging Face directory it came from.

    The same files, names, types and shards; weights that did not change give the same bytes.
    """
    with count_up("export") as bar:
        files = export_checkpoint(checkpoint, output, on_start=bar.expect, on_tensor=bar.advance)
    size = sum(file.stat().st_size for file in files)
    names = [file.name for file in files]
    return Result({"output": str(output), "files": names, "bytes": size}, f"{output}: {len(files)} files, {size:,} B")
