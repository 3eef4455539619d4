"""From a Hugging Face directory to a checkpoint of ours, tensor by tensor."""

import dataclasses
import itertools
import json
import math
import re
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from mmoe_embed.checkpoint import DTYPES, tensor_shapes
from mmoe_embed.config import GenerationConfig, ModelConfig, parse_config, parse_generation, parse_json, read_bytes
from mmoe_embed.errors import ToolkitError, UsageError
from mmoe_embed.huggingface.families import FAMILIES
from mmoe_embed.huggingface.int4 import describe_unsupported
from mmoe_embed.huggingface.keys import Keys
from mmoe_embed.huggingface.layout import Link, Part, list_links
from mmoe_embed.huggingface.shards import Shards, convert, list_shards
from mmoe_embed.tensors import TensorFile, TensorKind, create_tensors, header_bytes
from mmoe_embed.tokens import Tokens, build_tables
from mmoe_embed.whole_file import write_whole

SOURCE = "source"  # folder in an imported checkpoint: what is needed to write the directory again
HEADER_SUFFIX = ".header"
SCALES = "int4_scales.safetensors"
_LARGEST_COPY_BYTES = 64 << 20
_MOST_NEW_TOKENS = 256
_UNFINISHED = ".unfinished"  # in a folder whose import is under way, or was interrupted


@dataclasses.dataclass(frozen=True)
class Imported:
    """What an import made.

    Attributes:
        family: `model_type` of the directory.
        parameters: numbers in all tensors.
        packed: how many tensors were INT4.
        notes: what the user should know.
    """

    checkpoint: Path
    family: str
    config: ModelConfig
    parameters: int
    packed: int
    notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Plan:
    """How a directory becomes a checkpoint."""

    family: str
    config: ModelConfig
    links: tuple[Link, ...]
    notes: tuple[str, ...]


def import_checkpoint(
    folder: Path,
    output: Path,
    *,
    context: int | None = None,
    ignore: Sequence[str] = (),
    on_start: Callable[[int], None] = lambda _: None,
    on_tensor: Callable[[], None] = lambda: None,
) -> Imported:
    """Write a directory's model as a checkpoint of ours.

    Tensors keep their type; INT4 becomes float32 with the same values. Nothing of the size of the model is in memory at
    once. config.json is written last: an import that was interrupted is no checkpoint, and the next one starts over.

    Args:
        folder: holds config.json, tokenizer.json and safetensors, in shards or not.
        output: a folder that is new, empty, or left by an interrupted import.
        context: positions of the result; by default all that the model and our limit allow.
        ignore: keys of config.json that do not matter although they are not known.
        on_start: called with the number of tensors.
        on_tensor: called after each.

    Raises:
        ToolkitError: the model needs something that is missing here; the message has all of it, a line each. Or a file
            is damaged.
        UsageError: the output folder holds something.
    """
    check_output(output)
    shards = Shards.open(folder)
    plan = plan_import(folder, shards, context, ignore)
    tokenizer = read_bytes(folder / "tokenizer.json").decode("utf-8", "replace")
    generation, remarks = _read_generation(folder, tokenizer, plan.config)
    _open_output(output)
    kinds = _our_kinds(plan, shards)
    names = [name for name, _ in group_links(plan.links)]
    on_start(len(names))
    with create_tensors(output / "model.safetensors", header_bytes(kinds, {})) as target:
        for name, links in group_links(plan.links):
            values = shards.read(name)
            for link in links:
                have, want = shards.kind(name).dtype, kinds[link.ours.name].dtype
                link.ours.view(target.array(link.ours.name, writable=True))[...] = convert(
                    link.theirs.view(values), have, want
                )
            on_tensor()
    packed = [name for name in names if shards.is_packed(name)]
    _keep_source(folder, output / SOURCE, shards, packed)
    write_whole(output / "tokenizer.json", tokenizer.encode())
    write_whole(output / "generation_config.json", generation.to_json().encode())
    write_whole(output / "config.json", plan.config.to_json().encode())
    (output / _UNFINISHED).unlink()
    parameters = sum(math.prod(kind.shape) for kind in kinds.values())
    notes = (*plan.notes, *remarks, *_note_tokenizer(tokenizer, plan.config))
    return Imported(output, plan.family, plan.config, parameters, len(packed), notes)


def group_links(links: Sequence[Link]) -> Iterator[tuple[str, list[Link]]]:
    """Links by the tensor of theirs, which then is read or written once."""
    ordered = sorted(links, key=lambda link: link.theirs.name)
    for name, group in itertools.groupby(ordered, key=lambda link: link.theirs.name):
        yield name, list(group)


def plan_import(folder: Path, shards: Shards, context: int | None, ignore: Sequence[str]) -> Plan:
    """Match a directory with its family.

    Raises:
        ToolkitError: something is missing; the message lists all of it.
    """
    file = folder / "config.json"
    values = parse_json(read_bytes(file), str(file))
    family, missing = str(values.get("model_type")), []
    keys = Keys(values, context)
    if family not in FAMILIES:
        keys.lack(f"model_type {family!r} ({', '.join(FAMILIES)} are supported)")
        keys.lack_features()
        missing = keys.missing + _unknown_tensors(shards, set())
        raise _refuse(family, missing, str(file))
    read = FAMILIES[family].read(keys)
    keys.missing += describe_unsupported(values["quantization"]) if values.get("quantization") else []
    keys.lack_unread(tuple(ignore))
    try:
        config = parse_config(json.dumps({"model_type": family} | read), str(file))
    except ToolkitError as error:
        raise _refuse(family, [*keys.missing, error.message], str(file)) from None
    links = list_links(config, FAMILIES[family].names)
    missing = keys.missing + _compare_tensors(config, links, shards)
    if missing:
        raise _refuse(family, missing, str(file))
    return Plan(family, config, tuple(links), tuple(keys.notes))


def _refuse(family: str, missing: Sequence[str], at: str) -> ToolkitError:
    count = f"{len(missing)} things are" if len(missing) > 1 else "something is"
    lines = "".join(f"\n  - {what}" for what in missing)
    return ToolkitError(f"this {family} model cannot be imported, {count} missing:{lines}", at=at)


def _compare_tensors(config: ModelConfig, links: Sequence[Link], shards: Shards) -> list[str]:
    """Tensors that are absent, of another shape or type, or that nobody asks for."""
    shapes = tensor_shapes(config)
    wanted = {link.theirs.name for link in links}
    absent = {name for name in wanted if not shards.stored(name)}
    problems = [f"tensor {name}" for name in _summarize(absent)]
    other_types = {name for name in wanted - absent if shards.kind(name).dtype not in DTYPES}
    problems += [f"tensor {name} in one of the types {', '.join(DTYPES)}" for name in _summarize(other_types)]
    covered: Counter[str] = Counter()
    unlike = set()
    for link in links:
        name = link.theirs.name
        if name in absent | other_types:
            continue
        theirs = _shape(link.theirs, shards.kind(name).shape)
        covered[name] += math.prod(theirs or ())
        if theirs is None or theirs != _shape(link.ours, shapes[link.ours.name]):
            unlike.add(name)
    unlike |= {name for name, size in covered.items() if size != math.prod(shards.kind(name).shape)}
    problems += [f"tensor {name} in the shape that config.json asks for" for name in _summarize(unlike)]
    return problems + _unknown_tensors(shards, {one for name in wanted for one in shards.stored(name)})


def _shape(part: Part, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """The shape of a piece of a tensor; None where the tensor has not that piece."""
    try:
        return part.view(np.empty(shape, np.uint8)).shape  # never touched, so it takes no memory
    except (IndexError, ValueError):
        return None


def _unknown_tensors(shards: Shards, used: set[str]) -> list[str]:
    return [f"a use for tensor {name}" for name in _summarize(shards.kinds.keys() - used)]


def _summarize(names: Collection[str]) -> list[str]:
    """Names that differ in numbers alone, as one line."""
    patterns = Counter(re.sub(r"\d+", "N", name) for name in names)
    one = {re.sub(r"\d+", "N", name): name for name in names}
    return [f"{p} ({n} of them)" if n > 1 else one[p] for p, n in sorted(patterns.items())]


def _our_kinds(plan: Plan, shards: Shards) -> dict[str, TensorKind]:
    """Types as theirs; what they have no tensor for (a router's bias) is zero."""
    types = {link.ours.name: shards.kind(link.theirs.name).dtype for link in plan.links}
    return {name: TensorKind(types.get(name, "F32"), shape) for name, shape in tensor_shapes(plan.config).items()}


def check_output(output: Path) -> None:
    """Refuse a folder that holds something, unless an interrupted import left it."""
    if output.exists() and not output.is_dir():
        raise UsageError(f"{output} is a file, a folder is needed", try_="another -o")
    if output.is_dir() and any(output.iterdir()) and not (output / _UNFINISHED).is_file():
        what = "a checkpoint" if (output / "config.json").is_file() else "files that no import left"
        raise UsageError(f"{output} holds {what}", at=str(output), try_="another -o, or empty it")


def _open_output(output: Path) -> None:
    """Start over where an import was interrupted."""
    if output.is_dir():
        for path in output.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    output.mkdir(parents=True, exist_ok=True)
    (output / _UNFINISHED).touch()


def _keep_source(folder: Path, kept: Path, shards: Shards, packed: Sequence[str]) -> None:
    """Keep what is not a tensor, the headers of the weight files, and the scales of INT4 tensors."""
    weights = list_shards(folder)
    for file in sorted(folder.iterdir()):
        if file.is_file() and file not in weights and file.stat().st_size <= _LARGEST_COPY_BYTES:
            write_whole(kept / file.name, file.read_bytes())
    for file in weights:
        write_whole(kept / (file.name + HEADER_SUFFIX), TensorFile(file).header)
    if not packed:
        return
    scales = {shards.stored(name)[1]: name for name in packed}
    kinds = {name: shards.kinds[name] for name in scales}
    with create_tensors(kept / SCALES, header_bytes(kinds, {})) as target:
        for name in kinds:
            target.array(name, writable=True)[...] = shards.read(name)


def _read_generation(folder: Path, tokenizer: str, config: ModelConfig) -> tuple[GenerationConfig, list[str]]:
    """Prefix and suffix as the tokenizer puts them around a text; the stop token of the generation config."""
    values: dict[str, Any] = {}
    for name in ("config.json", "generation_config.json"):
        if (folder / name).is_file():
            values |= parse_json((folder / name).read_bytes(), str(folder / name))
    stops = values.get("eos_token_id")
    stops = [stops] if isinstance(stops, int) else list(stops or [])
    notes = []
    if not stops:
        stops = [config.vocab_size - 1]
        notes.append(f"no eos_token_id: token {stops[0]} stops an answer (stop_token of generation_config.json)")
    elif len(stops) > 1:
        notes.append(f"of {len(stops)} tokens that end an answer, {stops[0]} is taken (stop_token)")
    prefix, suffix = _frame(tokenizer)
    most = values.get("max_new_tokens") or _MOST_NEW_TOKENS
    framed = {
        "prefix_tokens": prefix,
        "suffix_tokens": suffix,
        "stop_token": stops[0],
        "max_new_tokens": min(most, config.max_position_embeddings),
    }
    return parse_generation(json.dumps(framed), config, str(folder / "generation_config.json")), notes


def _frame(tokenizer: str) -> tuple[list[int], list[int]]:
    """Tokens that the tokenizer itself puts before and after a text."""
    library = Tokenizer.from_str(tokenizer)
    plain, framed = library.encode("a", add_special_tokens=False).ids, library.encode("a").ids
    for start in range(len(framed) - len(plain) + 1):
        if framed[start : start + len(plain)] == plain:
            return framed[:start], framed[start + len(plain) :]
    return [], []


def _note_tokenizer(tokenizer: str, config: ModelConfig) -> list[str]:
    Tokens(tokenizer)
    try:
        build_tables(tokenizer, config.vocab_size)
    except ToolkitError as error:
        return [f"no board can have it as it is: {error.message}"]
    return []
