"""`mmoe-embed import`: a Hugging Face directory to a checkpoint."""

from pathlib import Path

import rich_click as click

from mmoe_embed.cli.output import Result, count_up, verb
from mmoe_embed.config import MAX_CONTEXT
from mmoe_embed.huggingface import import_checkpoint
from mmoe_embed.huggingface.requantize import measure_requantization


@verb("import")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--output", "-o", type=click.Path(path_type=Path), required=True, help="Folder of the checkpoint.")
@click.option(
    "--context",
    type=click.IntRange(1, MAX_CONTEXT),
    metavar="N",
    help=f"Positions to import. Default: all that the model has, at most {MAX_CONTEXT}.",
)
@click.option(
    "--ignore", multiple=True, metavar="KEY", help="A key of config.json that is not known and does not matter."
)
def command(folder: Path, output: Path, context: int | None, ignore: tuple[str, ...]) -> Result:
    """Turn the Hugging Face directory DIR (config.json, tokenizer.json, safetensors) into a checkpoint.

    MobileMoE (also its INT4), OLMoE, Qwen2-MoE, Qwen3-MoE, Mixtral, DeepSeekMoE and dots.llm1 are known. Anything else,
    and anything of these that is not supported, gets the list of what is missing.
    """
    with count_up("import") as bar:
        imported = import_checkpoint(
            folder, output, context=context, ignore=ignore, on_start=bar.expect, on_tensor=bar.advance
        )
    costs = measure_requantization(output) if imported.packed else {}
    config = imported.config
    data = {
        "output": str(output),
        "family": imported.family,
        "parameters": imported.parameters,
        "context": config.max_position_embeddings,
        "packed_tensors": imported.packed,
        "requantization_error": costs,
        "notes": list(imported.notes),
    }
    lines = [
        f"{output}: {imported.family}, {imported.parameters:,} parameters, {config.num_hidden_layers} layers",
        *(f"  note: {note}" for note in imported.notes),
    ]
    if costs:
        lines.append(
            f"  note: its {imported.packed} INT4 tensors are float32 now, with the same values; experts were grouped "
            "along their outputs, a board groups along inputs: quantized again"
        )
        for scheme, kinds in costs.items():
            errors = ", ".join(f"{100 * error:.2f} % in {kind}" for kind, error in kinds.items())
            lines.append(f"    as {scheme} their relative error is {errors}")
    return Result(data, "\n".join(lines))
