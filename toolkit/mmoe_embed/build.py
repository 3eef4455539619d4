"""The road from a checkpoint to an image: quantize, plan, emit, compile, link, check."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from mmoe_embed import __version__
from mmoe_embed.board import Board, load_board
from mmoe_embed.build_folder import BuildFolder, file_sha256, load_build, read_record, write_record
from mmoe_embed.checkpoint import checkpoint_folder, load_checkpoint
from mmoe_embed.compile import Program, link_program
from mmoe_embed.elf import bound_stack, check_symbols, read_sizes
from mmoe_embed.emit.writer import Emitted, emit_model, write_files
from mmoe_embed.errors import MismatchError, UsageError
from mmoe_embed.plan import BoardPlan, PlanRequest, RuntimeBytes, choose_scheme, draw_arena
from mmoe_embed.quantized import Quantized, save_quantized
from mmoe_embed.resources import hash_sources
from mmoe_embed.toolchain import Toolchain, find_toolchain, is_microcontroller

PROMPTS = "prompts.txt"
_STACK_MARGIN = 512  # interrupt frames with the FPU's registers, twice nested, and the reset handler
_SLACK = 256  # sizes of a first link are rounded up to this, so that a second link settles


@dataclasses.dataclass(frozen=True)
class BuildRequest:
    """What to build, for what, into which folder."""

    checkpoint: Path
    board: str
    output: Path
    scheme: str = "auto"
    plan: PlanRequest = PlanRequest()
    compiler: str | None = None
    clean: bool = False


def build_firmware(request: BuildRequest, console: Console | None = None) -> BuildFolder:
    """Build an image (or the host program) for a board.

    Args:
        request: what to build.
        console: where progress goes; None is silent.

    Returns:
        the finished build folder.

    Raises:
        ToolkitError: bad checkpoint; FitError: it does not fit; ToolchainError: no compiler, or it failed;
        MismatchError: the folder holds a build of another checkpoint or board.
    """
    say = _progress(console)
    board = load_board(request.board)
    folder = _open_folder(request)
    toolchain = find_toolchain(board, request.compiler)
    say(f"checkpoint {request.checkpoint}")
    checkpoint = load_checkpoint(request.checkpoint)
    source = str(checkpoint_folder(request.checkpoint).resolve())
    sources_sha256 = hash_sources()

    # The first plan guesses the runtime's own size; the linked image tells it, and the second plan is exact.
    runtime, program, plan, emitted = RuntimeBytes(), None, None, None
    for attempt in ("first link, to measure the runtime", "final link"):
        say(f"quantize and plan for {board.name} ({'estimated' if not runtime.measured else 'measured'} runtime size)")
        model, plan = choose_scheme(checkpoint, board, request.scheme, request.plan, runtime)
        name = Path(source).parent.name if Path(source).name == "checkpoint" else Path(source).name
        emitted = emit_model(model, plan, name, sources_sha256)
        write_files(emitted.files, folder / "gen")
        say(f"compile with {toolchain.name}, {attempt}")
        program = link_program(board, plan, toolchain, folder)
        measured = _measure(board, program, toolchain)
        if measured == runtime or not is_microcontroller(board):
            break
        runtime = measured
    assert program is not None
    assert plan is not None
    assert emitted is not None
    return _finish(request, folder, source, board, toolchain, model, plan, emitted, program)


def _progress(console: Console | None) -> Callable[[str], None]:
    return (lambda text: console.print(f"[dim]•[/dim] {text}")) if console else (lambda text: None)


def _open_folder(request: BuildRequest) -> Path:
    folder = request.output
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; a build needs a folder", try_="another -o")
    record = read_record(folder) if folder.is_dir() else None
    if record is not None and not request.clean:
        source = str(checkpoint_folder(request.checkpoint).resolve())
        for what, old, new in (("checkpoint", record["checkpoint"], source), ("board", record["board"], request.board)):
            if old != new:
                raise MismatchError(
                    f"{folder} holds a build of {what} {old}, not of {new}",
                    at=str(folder),
                    try_="another -o, or --clean to build over it",
                )
    elif folder.is_dir() and any(folder.iterdir()) and record is None and not (folder / "gen").is_dir():
        raise MismatchError(f"{folder} is not empty and not a build folder", at=str(folder), try_="another -o")
    if request.clean and record is not None:
        for child in ("gen", "obj"):
            shutil.rmtree(folder / child, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "build.json").unlink(missing_ok=True)  # until this build is finished, there is none
    return folder


def _round_up(n: int) -> int:
    return -(-n // _SLACK) * _SLACK


def _measure(board: Board, program: Program, toolchain: Toolchain) -> RuntimeBytes:
    sizes = read_sizes(program.elf)
    stack = _bound(program)
    return RuntimeBytes(
        _round_up(sizes.text),
        _round_up(sizes.data),
        _round_up(stack + _STACK_MARGIN) if stack else RuntimeBytes().stack,
        measured=True,
    )


def _bound(program: Program) -> int:
    """Stack bound of the image, or 0 where the compiler does not write call graphs."""
    if not program.call_graphs:
        return 0
    return bound_stack(program.call_graphs, "Reset_Handler", program.indirect_calls)


def _finish(
    request: BuildRequest,
    folder: Path,
    source: str,
    board: Board,
    toolchain: Toolchain,
    model: Quantized,
    plan: BoardPlan,
    emitted: Emitted,
    program: Program,
) -> BuildFolder:
    quantized = folder / "quantized.safetensors"
    save_quantized(model, quantized)
    write_files({"arena.svg": draw_arena(model).encode()}, folder / "gen")
    requests = Path(source).parent / PROMPTS  # an example's own requests, for `validate`
    if requests.is_file():
        write_files({PROMPTS: requests.read_bytes()}, folder)
    sizes = read_sizes(program.elf)
    if is_microcontroller(board):
        check_symbols(program.elf)
    names = [program.elf.name, quantized.name, *(f"gen/{name}" for name in emitted.files)]
    write_record(
        folder,
        {
            "tool_version": __version__,
            "checkpoint": source,
            "board": request.board,
            "elf": program.elf.name,
            "model_id": model.model_id,
            "build_id": emitted.build_id,
            "quantized": quantized.name,
            "source_sha256": model.source_sha256,
            "compiler": toolchain.version,
            "sizes": {"text": sizes.text, "data": sizes.data, "stack_bound": _bound(program)},
            "files": {name: file_sha256(folder / name) for name in names},
        },
    )
    return load_build(folder)
