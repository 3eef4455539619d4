"""Writing an imported checkpoint back as the Hugging Face directory that it came from."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from mmoe_embed.checkpoint import checkpoint_folder, tensor_shapes
from mmoe_embed.config import load_config, parse_json, read_bytes
from mmoe_embed.errors import ToolkitError, UsageError
from mmoe_embed.huggingface.families import FAMILIES
from mmoe_embed.huggingface.importer import HEADER_SUFFIX, SCALES, SOURCE, group_links
from mmoe_embed.huggingface.layout import list_links
from mmoe_embed.huggingface.shards import convert, create_shards
from mmoe_embed.tensors import TensorFile
from mmoe_embed.whole_file import write_whole


def export_checkpoint(
    checkpoint: Path,
    output: Path,
    *,
    on_start: Callable[[int], None] = lambda _: None,
    on_tensor: Callable[[], None] = lambda: None,
) -> list[Path]:
    """Write the directory: the same files, shards and types, with the checkpoint's weights.

    Weights that did not change since the import give the same bytes. Others are rounded to the directory's types, and
    where it is INT4 to its scales.

    Args:
        checkpoint: of `import_checkpoint`.
        output: a folder that is new or empty.
        on_start: called with the number of tensors.
        on_tensor: called after each.

    Returns:
        the files.

    Raises:
        ToolkitError: the checkpoint was not imported, or its tensors are of another shape now.
        UsageError: the output folder holds something.
    """
    folder = checkpoint_folder(checkpoint)
    source = folder / SOURCE
    if not (source / "config.json").is_file():
        raise ToolkitError(
            "this checkpoint was not imported: there is no layout to write back",
            at=str(folder),
            try_="mmoe-embed import DIR -o CHECKPOINT makes one that can be",
        )
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UsageError(f"{output} is not an empty folder", at=str(output), try_="another -o")
    config, ours = load_config(folder), TensorFile(folder / "model.safetensors")
    for name, shape in tensor_shapes(config).items():
        if name not in ours.kinds or ours.kinds[name].shape != shape:
            raise ToolkitError(f"tensor {name} is not the {shape} of config.json", at=str(ours.file))
    family = str(parse_json(read_bytes(source / "config.json"), str(source)).get("model_type"))
    links = list_links(config, FAMILIES[family].names)
    headers = {file.name.removesuffix(HEADER_SUFFIX): file.read_bytes() for file in source.glob(f"*{HEADER_SUFFIX}")}
    scales = TensorFile(source / SCALES) if (source / SCALES).is_file() else None
    on_start(len({link.theirs.name for link in links}))
    output.mkdir(parents=True, exist_ok=True)
    with create_shards(output, headers) as shards:
        for name, group in group_links(links):
            want, values = shards.kind(name).dtype, shards.blank(name)
            for link in group:
                have = ours.kinds[link.ours.name].dtype
                link.theirs.view(values)[...] = convert(link.ours.view(ours.array(link.ours.name)), have, want)
            if scales is not None and shards.is_packed(name):
                shards.write(name, values, np.asarray(scales.array(shards.stored(name)[1])))
            on_tensor()
    for file in source.iterdir():
        if file.suffix != HEADER_SUFFIX and file.name != SCALES:
            write_whole(output / file.name, file.read_bytes())
    return sorted(output.iterdir())
