"""The road from a checkpoint to an image: quantize, plan, emit, compile, link, check."""

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from mmoe_embed import __version__
from mmoe_embed.arena import draw_arena
from mmoe_embed.board import Board, load_board
from mmoe_embed.build_folder import BuildFolder, file_sha256, load_build, read_record, write_record
from mmoe_embed.checkpoint import Checkpoint, checkpoint_folder, load_checkpoint
from mmoe_embed.compile import Program, drop_objects, link_program
from mmoe_embed.elf import check_symbols, read_sizes
from mmoe_embed.emit.writer import Emitted, emit_model, write_files
from mmoe_embed.errors import MismatchError, UsageError
from mmoe_embed.plan import BoardPlan, PlanRequest, RuntimeBytes, choose_scheme
from mmoe_embed.quantized import Quantized, save_quantized
from mmoe_embed.resources import hash_sources
from mmoe_embed.stack import bound_stack
from mmoe_embed.toolchain import Toolchain, find_toolchain, is_microcontroller

PROMPTS = "prompts.txt"
_UNFINISHED = ".unfinished"  # in a folder whose build is under way, or was interrupted
STACK_MARGIN = 512  # interrupt frames with the FPU's registers, twice nested, and the reset handler
# what a program has besides: 132 KiB of stack that Linux maps at first, as much heap of the C library, as much of the
# thread that reads experts, its guard page included
_PROGRAM_STACK_BYTES = 396 * 1024
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
    request = dataclasses.replace(request, board=_resolve_board(request.board))
    _check_folder(request)
    toolchain = find_toolchain(board, request.compiler)
    say(f"checkpoint {request.checkpoint}")
    checkpoint = load_checkpoint(request.checkpoint)
    inputs = _identify_inputs(request, checkpoint, board, toolchain)
    if (unchanged := _reuse_build(request, inputs)) is not None:
        say("nothing has changed since this folder was built")
        return unchanged

    # The first plan guesses the runtime's own size; the linked image tells it, and the second plan is exact.
    say(f"quantize and plan for {board.name}")
    model, plan = _plan_probe(checkpoint, board, request)
    say(f"compile with {toolchain.name}")
    _open_folder(request)
    emitted, program = _emit_and_link(request, board, toolchain, model, plan)
    objects = [*program.objects]
    if is_microcontroller(board) or plan.storage == "file":
        say("plan again with the measured size of the runtime, and link")
        model, plan = choose_scheme(checkpoint, board, request.scheme, request.plan, _measure(board, plan, program))
        emitted, program = _emit_and_link(request, board, toolchain, model, plan)
        if is_microcontroller(board):
            check_symbols(program.elf)
    drop_objects(request.output, [*objects, *program.objects])
    return _finish(request, inputs, toolchain, model, plan, emitted, program)


def _plan_probe(checkpoint: Checkpoint, board: Board, request: BuildRequest) -> tuple[Quantized, BoardPlan]:
    """A plan for the first link: as few slots as will do, so that a guess that is too small does not stop the link."""
    model, plan = choose_scheme(checkpoint, board, request.scheme, request.plan)
    least = min(checkpoint.config.num_experts_per_tok + 1, plan.expert_count)
    if is_microcontroller(board) and plan.slots > least:
        few = dataclasses.replace(request.plan, expert_slots=least, workload=None)
        return choose_scheme(checkpoint, board, request.scheme, few)
    return model, plan


def _emit_and_link(
    request: BuildRequest, board: Board, toolchain: Toolchain, model: Quantized, plan: BoardPlan
) -> tuple[Emitted, Program]:
    emitted = emit_model(model, plan, hash_sources())
    write_files(emitted.files, request.output / "gen")
    return emitted, link_program(board, plan, toolchain, request.output)


def _resolve_board(board: str) -> str:
    """A board file's absolute path, so that the build can be opened from elsewhere; a name stays a name."""
    return str(Path(board).resolve()) if board.endswith(".toml") or "/" in board else board


def _identify_inputs(request: BuildRequest, checkpoint: Checkpoint, board: Board, toolchain: Toolchain) -> str:
    """sha256 over everything a build depends on."""
    parts = [
        __version__,
        checkpoint.sha256,
        checkpoint.config.to_json(),
        checkpoint.generation.to_json(),
        checkpoint.tokenizer,
        read_prompts(request.checkpoint).decode("utf-8", "replace"),
        repr(board),
        request.scheme,
        repr(request.plan),
        toolchain.version,
        repr(toolchain.flags + toolchain.link),
        hash_sources(),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def read_prompts(checkpoint: Path) -> bytes:
    """An example's own requests, for `validate`; they lie beside its checkpoint folder."""
    file = checkpoint_folder(checkpoint).resolve().parent / PROMPTS
    return file.read_bytes() if file.is_file() else b""


def _reuse_build(request: BuildRequest, inputs: str) -> BuildFolder | None:
    """The build that is there, when it was made from the same inputs and nobody changed it."""
    record = read_record(request.output) if request.output.is_dir() else None
    if record is None or record.get("inputs") != inputs:
        return None
    try:
        return load_build(request.output)
    except MismatchError:
        return None


def _progress(console: Console | None) -> Callable[[str], None]:
    return (lambda text: console.print(f"[dim]•[/dim] {text}")) if console else (lambda text: None)


def _check_folder(request: BuildRequest) -> None:
    """Refuse a folder that holds something else; nothing in it is touched yet."""
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
    elif folder.is_dir() and any(folder.iterdir()) and record is None and not (folder / _UNFINISHED).is_file():
        raise MismatchError(f"{folder} is not empty and not a build folder", at=str(folder), try_="another -o")


def _open_folder(request: BuildRequest) -> None:
    """Make the folder, or take back that it holds a finished build: from here on it changes."""
    folder = request.output
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _UNFINISHED).touch()
    (folder / "build.json").unlink(missing_ok=True)
    if request.clean:
        for child in ("gen", "obj"):
            shutil.rmtree(folder / child, ignore_errors=True)


def _round_up(n: int) -> int:
    return -(-n // _SLACK) * _SLACK


def _measure(board: Board, plan: BoardPlan, program: Program) -> RuntimeBytes:
    sizes = read_sizes(program.elf)
    if not is_microcontroller(board):  # its linker keeps what the plan fixes among the other variables
        planned = {region.use: region.size_bytes for region in plan.regions}
        data = sizes.data - planned["arena"] - planned["kv"] - planned.get("slots", 0)
        return RuntimeBytes(_round_up(sizes.text), _round_up(data), _PROGRAM_STACK_BYTES, measured=True)
    return RuntimeBytes(
        _round_up(sizes.text), _round_up(sizes.data), _round_up(_bound(program) + STACK_MARGIN), measured=True
    )


def _bound(program: Program) -> int:
    return bound_stack(program.elf, "Reset_Handler", program.indirect_calls)


def _finish(
    request: BuildRequest,
    inputs: str,
    toolchain: Toolchain,
    model: Quantized,
    plan: BoardPlan,
    emitted: Emitted,
    program: Program,
) -> BuildFolder:
    folder = request.output
    quantized = folder / "quantized.safetensors"
    save_quantized(model, quantized)
    write_files({"arena.svg": draw_arena(model, plan.chunk).encode()}, folder / "gen")
    prompts = read_prompts(request.checkpoint)
    write_files({PROMPTS: prompts} if prompts else {}, folder)
    sizes = read_sizes(program.elf)
    stack_bound = _bound(program) if plan.runtime_measured and program.elf.suffix == ".elf" else 0
    names = [program.elf.name, quantized.name, *(f"gen/{name}" for name in emitted.files)]
    names += [PROMPTS] if prompts else []
    write_record(
        folder,
        {
            "tool_version": __version__,
            "inputs": inputs,
            "checkpoint": str(checkpoint_folder(request.checkpoint).resolve()),
            "board": request.board,
            "elf": program.elf.name,
            "model_id": model.model_id,
            "build_id": emitted.build_id,
            "quantized": quantized.name,
            "source_sha256": model.source_sha256,
            "compiler": toolchain.version,
            "flash_model": dataclasses.asdict(plan.flash_model) if plan.flash_model else None,
            "sizes": {"text": sizes.text, "data": sizes.data, "stack_bound": stack_bound},
            "files": {name: file_sha256(folder / name) for name in names},
        },
    )
    (folder / _UNFINISHED).unlink(missing_ok=True)
    return load_build(folder)
