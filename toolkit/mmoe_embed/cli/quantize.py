"""`mmoe-embed quantize`: checkpoint to integers."""

from pathlib import Path

import rich_click as click

from mmoe_embed.build_folder import file_sha256
from mmoe_embed.checkpoint import load_checkpoint
from mmoe_embed.cli.options import checkpoint_argument
from mmoe_embed.cli.output import Result, count_up, verb
from mmoe_embed.quantize import quantize_to_file
from mmoe_embed.quantized import SCHEMES, matrix_shapes


@verb("quantize")
@checkpoint_argument
@click.option(
    "--scheme", type=click.Choice(SCHEMES), default="int8", show_default=True, help="Bits of the linear layers."
)
@click.option(
    "--output", "-o", type=click.Path(path_type=Path), required=True, help="The quantized model, a .safetensors file."
)
def command(checkpoint: Path, scheme: str, output: Path) -> Result:
    """Turn the float weights of CHECKPOINT into integers (INT8 a row, or INT4 in groups of 32)."""
    source = load_checkpoint(checkpoint)
    with count_up("quantize") as bar:
        bar.expect(len(matrix_shapes(source.config)))
        errors = quantize_to_file(source, scheme, output, bar.advance)
    model_id = file_sha256(output)
    worst = max(errors, key=lambda name: errors[name])
    data = {
        "output": str(output),
        "model_id": model_id,
        "scheme": scheme,
        "bytes": output.stat().st_size,
        "source_sha256": source.sha256,
        "relative_error": errors,
    }
    text = f"{output}: {scheme}, model {model_id[:16]}\n  largest relative weight error {errors[worst]:.4f} in {worst}"
    return Result(data, text)
