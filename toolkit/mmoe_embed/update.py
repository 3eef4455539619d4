"""Experts of a running board are replaced by others: into spare pages, then one switch of the table (SPEC.md 6.1)."""

import dataclasses
import shutil
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

from mmoe_embed.build_folder import BuildFolder, file_sha256, load_build, write_record
from mmoe_embed.checkpoint import load_checkpoint
from mmoe_embed.config import ModelConfig
from mmoe_embed.errors import MismatchError, UsageError
from mmoe_embed.experts import (
    ENTRY_BYTES,
    HEADER_BYTES,
    Entry,
    ImageLayout,
    build_image,
    experts_crc,
    image_entries,
    pack_table,
    parse_table,
    table_crc,
)
from mmoe_embed.quantize import quantize_checkpoint
from mmoe_embed.quantized import Quantized, load_quantized, serialize_quantized
from mmoe_embed.serial.client import BoardClient
from mmoe_embed.serial.flash import Flash
from mmoe_embed.whole_file import write_whole

Expert = tuple[int, int]  # layer, number in the layer
_Progress = Callable[[int], None]
_FACTORY = "quantized.safetensors"
_UPDATES = "updates/"  # in a build folder
_COMPARED_BYTES = 1 << 16


# --- which experts ---------------------------------------------------------------------------------------------------


def layout_of(build: BuildFolder) -> ImageLayout:
    """The layout of a build's expert image.

    Raises:
        UsageError: its experts cannot be replaced.
    """
    plan = build.plan
    if not plan.get("spare_pages"):
        raise UsageError(
            f"the experts of this build cannot be written on the board: storage {plan['storage']!r}, no spare page",
            at=str(build.path),
            try_="mmoe-embed build ... --storage DRIVER, one that writes (mmoe-embed boards show BOARD, [[storage]])",
        )
    return ImageLayout(plan["expert_count"], plan["expert_bytes"], plan["page_alignment"], plan["spare_pages"])


def load_source(source: Path, scheme: str) -> Quantized:
    """A checkpoint, quantized with a scheme, or a file of `mmoe-embed quantize` that has it.

    Raises:
        ToolkitError: it is neither.
        UsageError: the file has another scheme.
    """
    if not source.is_file():
        return quantize_checkpoint(load_checkpoint(source), scheme)
    model = load_quantized(source)
    if model.scheme != scheme:
        raise UsageError(
            f"{source} is {model.scheme}, the build is {scheme}",
            at=str(source),
            try_=f"mmoe-embed quantize CHECKPOINT --scheme {scheme} -o FILE, or --from CHECKPOINT",
        )
    return model


def find_changed(model: Quantized, source: Quantized) -> tuple[Expert, ...]:
    """Experts of `source` that are not those of `model`."""
    config = model.config
    every = ((layer, expert) for layer in range(len(config.routed_layers)) for expert in range(config.num_experts))
    return tuple(expert for expert in every if _matrices(model, expert) != _matrices(source, expert))


def _names(config: ModelConfig, expert: Expert) -> tuple[str, str]:
    at = f"layers.{config.routed_layers[expert[0]]}.experts.{expert[1]}."
    return at + "gate_up", at + "down"


def _matrices(model: Quantized, expert: Expert) -> list[bytes]:
    parts = [model.matrices[name] for name in _names(model.config, expert)]
    return [array.tobytes() for m in parts for array in (m.q, m.scale, m.group) if array is not None]


def replace_experts(model: Quantized, source: Quantized, experts: Sequence[Expert]) -> Quantized:
    """The model with some experts of another one.

    Raises:
        UsageError: no such expert, or the other model has other sizes.
    """
    config, other = model.config, source.config
    for key in ("hidden_size", "moe_intermediate_size", "num_hidden_layers", "num_experts", "dense_layers"):
        has, wanted = getattr(other, key), getattr(config, key)
        if has != wanted:
            raise UsageError(
                f"experts of another model do not fit: {key} is {has} there, {wanted} here",
                try_="a checkpoint of the model that the build was made from, trained on",
            )
    for layer, expert in experts:
        if layer >= len(config.routed_layers) or expert >= config.num_experts:
            raise UsageError(
                f"there is no expert {expert} in layer {layer}",
                try_=f"layers 0..{len(config.routed_layers) - 1}, experts 0..{config.num_experts - 1}",
            )
    changed = {name: source.matrices[name] for expert in experts for name in _names(config, expert)}
    return dataclasses.replace(model, matrices={**model.matrices, **changed})


def name_experts(experts: Sequence[Expert]) -> str:
    """`layer 0 expert 3, layer 1 expert 5`."""
    return ", ".join(f"layer {layer} expert {expert}" for layer, expert in experts)


# --- the board -------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Sent:
    """What a board was given."""

    experts: tuple[Expert, ...]
    bytes_sent: int
    updates: int  # of the board, since its image was flashed


def read_entries(client: BoardClient, layout: ImageLayout) -> list[Entry]:
    """The table in use on a board."""
    identity = client.identity or client.identify()
    table = layout.table_of(identity.updates)
    return parse_table(Flash(client).read(table, ENTRY_BYTES * layout.experts))


def find_differing(client: BoardClient, build: BuildFolder) -> list[Expert]:
    """Experts that are not on the board as the build has them."""
    entries = zip(read_entries(client, layout_of(build)), image_entries(build.expert_image.read_bytes()), strict=True)
    experts = client.identify().experts
    return [divmod(number, experts) for number, (has, wanted) in enumerate(entries) if has.crc != wanted.crc]


def require_experts(client: BoardClient, build: BuildFolder) -> None:
    """Refuse a board whose experts are not those that the build folder records.

    Raises:
        MismatchError: which ones are not.
    """
    if not build.plan.get("spare_pages"):
        return
    require_image(client)
    identity = client.identify()
    if identity.experts_crc == experts_crc(image_entries(build.expert_image.read_bytes())):
        return
    differing = name_experts(find_differing(client, build))
    raise MismatchError(
        f"the board has other experts than the build: {differing} of its update {identity.updates}",
        at=f"{client.link.port.url}, {build.path}",
        try_=f"mmoe-embed update-expert {build.path}, which sends what differs, or mmoe-embed flash {build.path}",
    )


def require_image(client: BoardClient) -> None:
    """Refuse a board whose flash holds no image of its firmware.

    Raises:
        MismatchError: it is blank, damaged, or of another build.
    """
    if client.identify().experts_crc == 0:
        raise MismatchError(
            "the board's flash holds no expert image of this build",
            at=client.link.port.url,
            try_="mmoe-embed flash BUILD --runner serial",
        )


def send_experts(
    client: BoardClient, layout: ImageLayout, image: bytes, on_bytes: _Progress = lambda count: None
) -> Sent:
    """Make a board's experts those of an image: pages that differ are sent, then the table is switched.

    A board that is cut off at any moment has its old experts, all of them, or after the switch the new ones.

    Args:
        client: an identified board with a valid image.
        layout: of its image and of `image`.
        image: an image of the firmware's model id, at any moment of its life.
        on_bytes: told how many bytes were sent, as they are.

    Raises:
        UsageError: there are fewer spare pages than experts that differ.
        DeviceError: the board fails; its experts are the old ones, or, after a lost answer to the switch, the new ones.
    """
    flash = Flash(client, on_bytes)
    identity = client.identify()
    entries, wanted = read_entries(client, layout), image_entries(image)
    changed = [number for number in range(layout.experts) if entries[number].crc != wanted[number].crc]
    experts = tuple(divmod(number, identity.experts) for number in changed)
    if not changed:
        return Sent((), 0, identity.updates)
    used = {entry.offset for entry in entries}
    free = [page for page in layout.pages if page not in used]
    if len(changed) > len(free):
        raise UsageError(
            f"{len(changed)} experts differ, the board has {len(free)} spare pages: {name_experts(experts)}",
            try_=f"fewer experts at a time, or a build with --spare-pages {len(changed)}",
        )
    for number, page in zip(changed, free, strict=False):
        at = wanted[number].offset
        flash.erase(page, layout.stride_bytes)
        flash.write(page, image[at : at + layout.expert_bytes])
        entries[number] = Entry(page, wanted[number].crc)
    sequence = identity.updates + 1
    table = pack_table(entries, layout.expert_bytes)
    flash.erase(layout.copy_of(sequence), layout.copy_bytes)
    flash.write(layout.table_of(sequence), table)
    flash.switch(sequence, table_crc(sequence, table))
    return Sent(experts, len(changed) * layout.expert_bytes + len(table), client.identify().updates)


def flash_image(
    client: BoardClient, layout: ImageLayout, image: bytes, on_bytes: _Progress = lambda count: None
) -> None:
    """Write a whole expert image into the flash of a running board, and compare what lies there.

    The header goes first and comes last, so that a board that is cut off has no image rather than half of one.

    Raises:
        MismatchError: the flash holds other bytes than were written.
    """
    flash = Flash(client, on_bytes)
    step = layout.alignment
    for offset in range(0, len(image), step):
        flash.erase(offset, step, anything=True)
    for offset in range(step, len(image), step):
        flash.write(offset, image[offset : offset + step])
    flash.write(HEADER_BYTES, image[HEADER_BYTES:step])
    flash.write(0, image[:HEADER_BYTES])
    for offset in range(0, len(image), _COMPARED_BYTES):
        part = image[offset : offset + _COMPARED_BYTES]
        if flash.crc(offset, len(part)) != zlib.crc32(part):
            raise MismatchError(
                f"the flash does not hold what was written, somewhere in bytes {offset}..{offset + len(part) - 1}",
                at=client.link.port.url,
                try_="run the same command again; if it fails at the same place, the flash is worn out or wired wrong",
            )
    flash.reopen()


# --- the build folder ------------------------------------------------------------------------------------------------


def make_image(build: BuildFolder, model: Quantized) -> bytes:
    """The expert image of a build with the experts of a model."""
    plan = build.plan
    order, spare_pages = plan["paging"]["flash_order"], plan["spare_pages"]
    return build_image(model, plan["page_alignment"], order, spare_pages, model_id=build.model_id)


def record_experts(build: BuildFolder, model: Quantized) -> BuildFolder:
    """Make a model with other experts the build folder's: what boards are compared with, and what `flash` writes.

    New files are written first, then build.json, then those of the update before go.
    """
    record = {key: value for key, value in build.record.items() if key not in ("format", "updates", "expert_image")}
    record["quantized"] = _FACTORY
    record["files"] = {name: sha for name, sha in record["files"].items() if not name.startswith(_UPDATES)}
    if model.model_id != build.model_id:
        image = make_image(build, model)
        files = {"quantized.safetensors": b"".join(serialize_quantized(model)), "experts.bin": image}
        names = {name: f"{_UPDATES}{experts_crc(image_entries(image)):08x}/{name}" for name in files}
        for name, content in files.items():
            write_whole(build.path / names[name], content)
            record["files"][names[name]] = file_sha256(build.path / names[name])
        record |= {
            "quantized": names["quantized.safetensors"],
            "expert_image": names["experts.bin"],
            "updates": {"model_id": model.model_id},
        }
    write_record(build.path, record)
    kept = {Path(name).parent.name for name in record["files"] if name.startswith(_UPDATES)}
    for folder in (build.path / _UPDATES).glob("*"):
        if folder.name not in kept:
            shutil.rmtree(folder)
    return load_build(build.path)
