"""An image that another build system linked from emitted C becomes a build folder, as `mmoe-embed build` makes one."""

import json
from collections.abc import Iterable
from pathlib import Path

from elftools.elf.elffile import ELFFile

from mmoe_embed import __version__
from mmoe_embed.build import STACK_MARGIN, copy_prompts
from mmoe_embed.build_folder import PROMPTS, BuildFolder, file_sha256, load_build, write_record
from mmoe_embed.checkpoint import Checkpoint, checkpoint_folder
from mmoe_embed.config import parse_json
from mmoe_embed.elf import read_sizes
from mmoe_embed.emit.writer import Emitted, write_files
from mmoe_embed.errors import FitError, MismatchError, ToolkitError
from mmoe_embed.port import indirect_calls
from mmoe_embed.quantized import Quantized, save_quantized
from mmoe_embed.resources import boards_dir, package_dir, source_files
from mmoe_embed.stack import bound_stack, read_functions

_EMITTED = "emitted.json"
_DEPFILE = "emit.d"
_QUANTIZED = "quantized.safetensors"
# What a loop of another system calls on the model's stack, and what that system provides beneath it
_ENTRIES = ("mmoe_main", "mmoe_main_start", "mmoe_main_receive", "mmoe_main_answer")
_PORT = "mmoe_port_"


def record_emission(
    folder: Path, gen: Path, path: Path, board: str, checkpoint: Checkpoint, model: Quantized, emitted: Emitted
) -> None:
    """Leave in `folder` what `adopt_image` needs, and a depfile for Make and Ninja.

    Args:
        folder: the build folder to be; made if it is not there.
        gen: where the emitted files are: `folder`/gen.
        path: the checkpoint as the user named it.
        board: its name, or the path of its file.
        checkpoint: what was read from `path`.
        model: what the files were emitted from.
        emitted: the files.

    Raises:
        ToolkitError: `gen` is not `folder`/gen.
    """
    if gen.resolve() != (folder / "gen").resolve():
        raise ToolkitError(
            f"the emitted files go to {gen}, the record to {folder}: a build folder has them in its gen",
            try_=f"-o {folder / 'gen'} --record {folder}",
        )
    folder.mkdir(parents=True, exist_ok=True)
    save_quantized(model, folder / _QUANTIZED)
    copy_prompts(path, folder)
    source = checkpoint_folder(path).resolve()
    record = {
        "tool_version": __version__,
        "checkpoint": str(source),
        "board": board,
        "model_id": model.model_id,
        "build_id": emitted.build_id,
        "source_sha256": checkpoint.sha256,
        "files": sorted(emitted.files),
    }
    write_files({_EMITTED: (json.dumps(record, indent=2) + "\n").encode()}, folder)
    # the C sources and the boards are part of the emitted build identity and of the plan, so they count as well
    inputs = [*_files(source), *source_files(), *_files(package_dir()), *boards_dir().glob("*.toml")]
    lines = [f"{_escape(gen.resolve() / 'model.h')}: \\", *(f"  {_escape(file)} \\" for file in inputs)]
    write_files({_DEPFILE: ("\n".join(lines).rstrip("\\") + "\n").encode()}, folder)


def _files(folder: Path) -> Iterable[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file() and "__pycache__" not in file.parts)


def _escape(file: Path) -> str:
    return str(file).replace("$", "$$").replace("#", "\\#").replace(" ", "\\ ")


def adopt_image(folder: Path, elf: Path) -> BuildFolder:
    """Complete a build folder with the image that holds its model.

    Args:
        folder: where `mmoe-embed emit --record` has been.
        elf: the linked image.

    Returns:
        the folder, ready for `flash` and `validate`.

    Raises:
        ToolkitError: nothing was emitted there, or there is no image.
        MismatchError: the image holds another model or another emission of it.
        FitError: the stack that the plan reserves is too small for the image.
    """
    emitted_file = folder / _EMITTED
    if not emitted_file.is_file():
        raise ToolkitError(
            f"nothing was emitted into {folder}",
            at=str(emitted_file),
            try_=f"mmoe-embed emit CHECKPOINT --board BOARD -o {folder / 'gen'} --record {folder}",
        )
    emitted = parse_json(emitted_file.read_bytes(), str(emitted_file))
    if not elf.is_file():
        raise ToolkitError(f"there is no image {elf}", at=str(elf), try_="link it first")
    if bytes.fromhex(emitted["build_id"]) not in elf.read_bytes():
        raise MismatchError(
            f"the image does not hold build {emitted['build_id'][:16]}, which was emitted last",
            at=str(elf),
            try_="build the image again",
        )
    plan_file = folder / "gen" / "plan.json"
    plan = parse_json(plan_file.read_bytes(), str(plan_file))
    bound = _bound(elf)
    over = bound + STACK_MARGIN - plan["stack_bytes"] if bound else 0
    if over > 0:
        raise FitError(
            f"the model's stack is too small: it needs {bound} B and {STACK_MARGIN} B for the system's calls and "
            f"interrupts, has {plan['stack_bytes']} B ({over} B over)",
            at=str(elf),
            try_="a lower optimisation level (CONFIG_MMOE_EMBED_SPEED=n), or report this: the plan's figure is ours",
        )
    sizes = read_sizes(elf)
    prompts = [PROMPTS] if (folder / PROMPTS).is_file() else []
    image = str(elf.resolve())
    names = [image, _QUANTIZED, *prompts, *(f"gen/{name}" for name in emitted["files"])]
    write_record(
        folder,
        {
            **{key: value for key, value in emitted.items() if key != "files"},
            "inputs": "",  # this tool did not build it, so it cannot say whether it is up to date
            "elf": image,
            "quantized": _QUANTIZED,
            "compiler": "",
            "sizes": {"text": sizes.text, "data": sizes.data, "stack_bound": bound},
            "files": {name: file_sha256(folder / name) for name in names},
        },
    )
    return load_build(folder)


def _bound(elf: Path) -> int:
    """The runtime's own depth on the model's stack, or 0 for an image of another instruction set."""
    with elf.open("rb") as stream:
        if ELFFile(stream)["e_machine"] != "EM_ARM":
            return 0
    present = {function.name for function in read_functions(elf).values()}.intersection(_ENTRIES)
    return max((bound_stack(elf, entry, indirect_calls(), leaves=_PORT) for entry in present), default=0)
