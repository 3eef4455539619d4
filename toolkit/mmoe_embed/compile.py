"""Compiles and links one image; an object is made again only when its source, a header or a flag changed."""

import dataclasses
import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jinja2

from mmoe_embed import __version__
from mmoe_embed.board import Board
from mmoe_embed.errors import FitError, ToolchainError, ToolkitError
from mmoe_embed.plan import BoardPlan
from mmoe_embed.port import describe_port
from mmoe_embed.resources import firmware_dir, kernels_dir
from mmoe_embed.storage import choose_storage
from mmoe_embed.toolchain import Toolchain, is_microcontroller, kernel_folders
from mmoe_embed.whole_file import partial_file, write_whole

_COMPILE_TIMEOUT_S = 300
_LEAST_FREE = 1 << 16  # a compiler that failed with less room than this failed for want of it


@dataclasses.dataclass(frozen=True)
class Program:
    """A linked image, its objects, and the callees behind its function pointers, by caller."""

    elf: Path
    objects: tuple[Path, ...]
    indirect_calls: dict[str, tuple[str, ...]]


def kernel_sources(board: Board) -> list[Path]:
    """The kernels of a board: each reference file, or its namesake in the first instruction-set folder that has one."""
    folders = [kernels_dir() / name for name in kernel_folders(board)]
    names = sorted(file.name for file in (kernels_dir() / "reference").glob("*.c"))
    return [next(folder / name for folder in folders if (folder / name).is_file()) for name in names]


def link_program(board: Board, plan: BoardPlan, toolchain: Toolchain, folder: Path) -> Program:
    """Compile everything a board needs and link it with the emitted model in `folder`/gen.

    Raises:
        ToolchainError: the compiler or the linker failed; its messages are passed on.
        FitError: the linker found a memory too small.
    """
    folder = folder.absolute()
    gen, objects = folder / "gen", folder / "obj"
    port = describe_port(
        board,
        __version__,
        plan.storage,
        plan.flash_model,
        timeline=plan.timeline_events > 0,
        updates=plan.spare_pages > 0,
        retained=plan.retained,
        wide_tokens=plan.wide_tokens,
    )
    objects.mkdir(parents=True, exist_ok=True)
    kernels = [kernels_dir() / name for name in kernel_folders(board)]
    includes = [path for path in (gen, *port.includes, kernels_dir() / "include", *kernels) if path.is_dir()]
    # debug information names sources without this machine's folders: the same inputs give the same image anywhere
    roots = {folder: ".", firmware_dir(): "firmware", kernels_dir(): "kernels_cmsis", **toolchain.roots}
    names = tuple(f"-ffile-prefix-map={path}={name}" for path, name in roots.items())
    flags = (*toolchain.flags, *port.defines, *names, *(f"-I{path}" for path in includes))
    flags = (*flags, *(f"-isystem{path}" for path in port.system_includes))
    sources = [*port.sources, *kernel_sources(board), gen / "model.c", gen / "tokens.c", gen / "weights.S"]
    if plan.expert_count and choose_storage(board, plan.storage).linked:
        sources.append(gen / "experts.S")
    # kernels include each other's .c files, so that all of them count; model.h counts only where it is included
    folders = (*port.includes, *port.system_includes, firmware_dir() / "src")
    sources_digest = _digest(
        [*(file for path in folders for file in sorted(path.glob("*.h"))), *sorted(kernels_dir().rglob("*.[ch]"))]
    )
    model_digest = _digest(sorted(gen.glob("*.h")))
    binaries = _digest(sorted(gen.glob("*.bin")))

    def compile_one(source: Path) -> Path:
        includes_model = source.suffix == ".c" and '"model.h"' in source.read_text()
        context = (model_digest if includes_model else "") + (binaries if source.suffix == ".S" else "")
        return _compile(toolchain, flags, source, objects, sources_digest + context)

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        outputs = list(pool.map(compile_one, sources))
    elf = _link(board, plan, toolchain, outputs, folder)
    return Program(elf, tuple(outputs), port.indirect_calls)


def drop_objects(folder: Path, kept: Iterable[Path]) -> None:
    """Delete the objects of earlier builds in `folder`/obj."""
    names = {output.name for output in kept}
    for file in (folder / "obj").glob("*.o"):
        if file.name not in names:
            file.unlink(missing_ok=True)


def _digest(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def _compile(toolchain: Toolchain, flags: tuple[str, ...], source: Path, objects: Path, context: str) -> Path:
    # assembly takes no C warnings, but needs the folder of its .incbin files, which -I gives
    command = [*toolchain.command, *flags, "-c", str(source)]
    key = hashlib.sha256("\0".join([toolchain.version, *command, context]).encode() + source.read_bytes()).hexdigest()[
        :16
    ]
    stem = f"{source.parent.name}-{source.stem}"  # two folders may have a file of the same name
    output = objects / f"{stem}-{key}.o"
    if not output.is_file():
        partial = partial_file(output)
        try:
            _run([*command, "-o", str(partial)], f"compiling {source.name}", objects.parent)
            os.replace(partial, output)
        finally:
            partial.unlink(missing_ok=True)
    return output


def _link(board: Board, plan: BoardPlan, toolchain: Toolchain, outputs: list[Path], folder: Path) -> Path:
    bare = is_microcontroller(board)
    elf = folder / ("firmware.elf" if bare else "firmware")
    extra: list[str] = []
    if bare:
        script = folder / "gen" / "linker.ld"
        write_whole(script, render_linker_script(board, plan).encode())
        extra = ["-T", str(script), "-Wl,-e,Reset_Handler"]
        if toolchain.name == "gcc":
            extra += ["-Wl,--no-warn-rwx-segments"]
    libraries = ["-lgcc"] if bare and toolchain.name == "gcc" else [] if bare else ["-lpthread"]
    if toolchain.library:
        key = hashlib.sha256("\0".join([toolchain.version, *toolchain.library]).encode()).hexdigest()[:16]
        library = folder / "obj" / f"compiler_rt-{key}.a"
        if not library.is_file():
            made = partial_file(library)
            _run([*toolchain.library, f"-femit-bin={made}"], "making clang's library", folder)
            os.replace(made, library)
        libraries.append(str(library))
    if plan.storage == "file" and "-static" not in toolchain.link:
        extra.append("-static")
    partial = partial_file(elf)
    with tempfile.NamedTemporaryFile("w", suffix=".rsp", delete=False) as response:
        response.write("\n".join(shlex.quote(str(output)) for output in outputs))
    try:
        _run(
            [*toolchain.command, *toolchain.link, *extra, f"@{response.name}", *libraries, "-o", str(partial)],
            f"linking {elf.name} for {board.name}",
            folder,
        )
        os.replace(partial, elf)
    finally:
        os.unlink(response.name)
        partial.unlink(missing_ok=True)
    return elf


def render_linker_script(board: Board, plan: BoardPlan) -> str:
    """The linker script of a plan: which section lies in which of the board's memories."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(firmware_dir() / "ports" / "cortex_m"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    used = {region.memory for region in plan.regions}
    placement: dict[str, str] = {region.use: region.memory for region in plan.regions}
    placement.setdefault("experts", placement["rodata"])
    placement.setdefault("slots", placement["arena"])
    memories = [
        {"name": m.name, "base": m.base, "size": m.size, "attributes": m.access} for m in board.memory if m.name in used
    ]
    return environment.get_template("linker.ld.j2").render(
        memories=memories, placement=placement, stack_bytes=plan.stack_bytes, board=board.name
    )


def _run(command: list[str], what: str, folder: Path) -> None:
    """Run a compiler in `folder`, where it also writes: debug information names the folder it ran in."""
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_COMPILE_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise ToolchainError(f"{what} took longer than {_COMPILE_TIMEOUT_S} s", at=shlex.join(command[:3])) from None
    if done.returncode:
        output = (done.stderr or done.stdout).strip()
        free = shutil.disk_usage(folder).free
        if "No space left on device" in output or "NoSpaceLeft" in output or free < _LEAST_FREE:
            raise ToolkitError(
                f"{what}: the disk is full, {free} B are free",
                at=str(folder),
                try_="free some space, or another -o; then run the same command again: what was made is kept",
            )
        if "overflowed by" in output or "will not fit in region" in output:
            lines = [line for line in output.splitlines() if "overflowed by" in line or "will not fit" in line]
            raise FitError(
                f"{what}: {lines[0].split(': ', 1)[-1]}",
                at=" | ".join(lines[1:3]),
                try_="fewer --expert-slots, --scheme int4, or a board with more memory",
            )
        raise ToolchainError(
            f"{what} failed with exit code {done.returncode}:\n{output[-3000:]}", at=shlex.join(command[-3:])
        )
