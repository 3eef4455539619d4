"""The road from a checkpoint to an image: quantize, plan, emit, compile, link, check."""

import dataclasses
import functools
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from mmoe_embed import __version__
from mmoe_embed.arena import draw_arena
from mmoe_embed.board import Board, load_board
from mmoe_embed.build_folder import (
    PROMPTS,
    RECORD,
    UNFINISHED,
    BuildFolder,
    file_sha256,
    load_build,
    read_record,
    write_record,
)
from mmoe_embed.checkpoint import Checkpoint, checkpoint_folder, load_checkpoint
from mmoe_embed.compile import Program, drop_objects, link_program
from mmoe_embed.elf import check_symbols, read_sizes
from mmoe_embed.emit.writer import Emitted, emit_model, write_files
from mmoe_embed.errors import FitError, MismatchError, UsageError
from mmoe_embed.paging.placement import Placement
from mmoe_embed.plan import SLOT_STATE_BYTES, BoardPlan, PlanRequest, RuntimeBytes, choose_scheme, input_bytes
from mmoe_embed.quantize import quantize_checkpoint
from mmoe_embed.quantized import Quantized, save_quantized
from mmoe_embed.resources import hash_sources
from mmoe_embed.stack import bound_stack
from mmoe_embed.storage import write_flash
from mmoe_embed.tokens import build_tables
from mmoe_embed.toolchain import Toolchain, find_toolchain, is_microcontroller

STACK_MARGIN = 512  # interrupt frames with the FPU's registers, twice nested, and the reset handler
# what a program has besides: 132 KiB of stack that Linux maps at first, as much heap of the C library, as much of the
# thread that reads experts, its guard page included
_PROGRAM_STACK_BYTES = 396 * 1024
_DEFAULT = "default"  # of an option that was not given
_SLACK = 256  # sizes of a link are rounded up to this, so that the next one settles
_LINKS = 3  # with measured sizes; the second has what the first had, but for another scheme or other tables


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
    if board.kind == "phone":
        raise UsageError(
            f"{board.name} is a phone, which runs programs of ExecuTorch",
            try_=f"mmoe-embed export {request.checkpoint} --board {board.name} -o model.pte",
        )
    request = dataclasses.replace(request, board=_resolve_board(request.board))
    toolchain = find_toolchain(board, request.compiler)
    asked = _describe_request(request, toolchain)
    _check_folder(request, asked)
    say(f"checkpoint {request.checkpoint}")
    checkpoint = load_checkpoint(request.checkpoint)
    if not checkpoint.config.is_classifier:  # what a board cannot have is said before all else
        build_tables(checkpoint.tokenizer, checkpoint.config.vocab_size)
    inputs = _identify_inputs(request, checkpoint, board, toolchain)
    if (unchanged := _reuse_build(request, inputs)) is not None:
        say("nothing has changed since this folder was built")
        return unchanged

    # The first plan guesses the runtime's own size; the linked image tells it, and the second plan is exact.
    say(f"quantize and plan for {board.name}")
    choose = functools.partial(
        choose_scheme, checkpoint, board, quantize=functools.cache(functools.partial(quantize_checkpoint, checkpoint))
    )
    model, plan = _plan_probe(choose, board, request)
    say(f"compile with {toolchain.name}")
    _open_folder(request)
    link = _emit_and_link(request, board, toolchain, model, plan)
    objects = link.program.objects
    if is_microcontroller(board) or plan.storage == "file":
        say("plan again with the measured size of the runtime, and link")
        link = _link_measured(request, choose, board, toolchain, link)
        if is_microcontroller(board):
            check_symbols(link.program.elf)
    drop_objects(request.output, [*objects, *link.program.objects])
    return _finish(request, asked, inputs, toolchain, link)


_Choose = Callable[..., tuple[Quantized, BoardPlan]]  # scheme, request, runtime: choose_scheme of one checkpoint


def _plan_probe(choose: _Choose, board: Board, request: BuildRequest) -> tuple[Quantized, BoardPlan]:
    """A plan for the first link: as few slots as will do, so that a guess that is too small does not stop the link."""
    model, plan = choose(request.scheme, request.plan)
    least = min(model.config.num_experts_per_tok + 1, plan.expert_count)
    if is_microcontroller(board) and plan.slots > least:
        few = dataclasses.replace(request.plan, expert_slots=least, workload=None)
        return choose(request.scheme, few)
    return model, plan


@dataclasses.dataclass(frozen=True)
class _Link:
    """One pass over emit, compile and link."""

    model: Quantized
    plan: BoardPlan
    emitted: Emitted
    program: Program


def _emit_and_link(
    request: BuildRequest, board: Board, toolchain: Toolchain, model: Quantized, plan: BoardPlan
) -> _Link:
    emitted = emit_model(model, plan, hash_sources())
    write_files(emitted.files, request.output / "gen")
    return _Link(model, plan, emitted, link_program(board, plan, toolchain, request.output))


def _link_measured(
    request: BuildRequest, choose: _Choose, board: Board, toolchain: Toolchain, link: _Link
) -> _Link:
    """Plan with the sizes of the image, until the image made of the plan needs no more than the plan says.

    Raises:
        FitError: it does not fit, or its sizes do not settle.
    """
    runtime = _measure(board, link)
    for _ in range(_LINKS):
        model, plan = choose(request.scheme, request.plan, runtime)
        link = _emit_and_link(request, board, toolchain, model, plan)
        found = _measure(board, link)
        larger = [name for name in ("text", "data", "stack") if getattr(found, name) > getattr(runtime, name)]
        if not larger:
            return link
        planned, runtime = runtime, dataclasses.replace(runtime, **{name: getattr(found, name) for name in larger})
    over = ", ".join(f"{name} {getattr(found, name)} B, planned {getattr(planned, name)} B" for name in larger)
    raise FitError(
        f"the image needs more than its plan: {over}",
        at=str(link.program.elf),
        try_="fix what the planner chooses: --scheme, --expert-slots and --prefill-chunk; and report this",
    )


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


def copy_prompts(checkpoint: Path, folder: Path) -> list[str]:
    """Put an example's requests into its build folder, or remove those of an earlier build; the names of the files."""
    prompts = read_prompts(checkpoint)
    if not prompts:
        (folder / PROMPTS).unlink(missing_ok=True)
        return []
    write_files({PROMPTS: prompts}, folder)
    return [PROMPTS]


def _reuse_build(request: BuildRequest, inputs: str) -> BuildFolder | None:
    """The build that is there, when it was made from the same inputs, nobody changed it and no expert was replaced."""
    record = read_record(request.output) if request.output.is_dir() else None
    if record is None or record.get("inputs") != inputs or "updates" in record:
        return None
    try:
        return load_build(request.output)
    except MismatchError:
        return None


def _progress(console: Console | None) -> Callable[[str], None]:
    return (lambda text: console.print(f"[dim]•[/dim] {text}")) if console else (lambda text: None)


def _describe_request(request: BuildRequest, toolchain: Toolchain) -> dict[str, str]:
    """What a build is asked to be, by name: a folder whose build was asked to be another is refused."""
    return {
        "checkpoint": str(checkpoint_folder(request.checkpoint).resolve()),
        "board": request.board,
        "scheme": request.scheme,
        "compiler": toolchain.name,
        **_describe_options(request.plan),
    }


def _describe_options(options: PlanRequest | Placement) -> dict[str, str]:
    asked: dict[str, str] = {}
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if isinstance(value, Placement):
            asked |= _describe_options(value)
        else:
            asked[field.name] = _DEFAULT if value == field.default else str(value)
    return asked


def _check_folder(request: BuildRequest, asked: dict[str, str]) -> None:
    """Refuse a folder that holds something else; nothing in it is touched yet."""
    folder = request.output
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; a build needs a folder", try_="another -o")
    record = read_record(folder) if folder.is_dir() else None
    if record is not None and not request.clean:
        options = record.get("options", {})  # none of an image that was adopted
        held = {"checkpoint": record["checkpoint"], "board": record["board"], **options}
        for what, new in asked.items():
            old = held.get(what, _DEFAULT if options else new)  # default: the tool had no such option then
            if old != new:
                raise MismatchError(
                    f"{folder} holds a build of {what} {old}, not of {new}",
                    at=str(folder),
                    try_="another -o, or --clean to build over it",
                )
    elif folder.is_dir() and any(folder.iterdir()) and record is None and not (folder / UNFINISHED).is_file():
        raise MismatchError(f"{folder} is not empty and not a build folder", at=str(folder), try_="another -o")


def _open_folder(request: BuildRequest) -> None:
    """Make the folder, or take back that it holds a finished build: from here on it changes."""
    folder = request.output
    folder.mkdir(parents=True, exist_ok=True)
    (folder / UNFINISHED).touch()
    (folder / RECORD).unlink(missing_ok=True)
    for child in ("updates", "gen", "obj") if request.clean else ("updates",):
        shutil.rmtree(folder / child, ignore_errors=True)


def _round_up(n: int) -> int:
    return -(-n // _SLACK) * _SLACK


def _measure(board: Board, link: _Link) -> RuntimeBytes:
    """Sizes of an image without what its plan adds for each slot and each token of a chunk."""
    sizes, plan = read_sizes(link.program.elf), link.plan
    data = sizes.data - SLOT_STATE_BYTES * plan.slots - input_bytes(link.model.config) * plan.chunk
    if is_microcontroller(board):
        stack = _round_up(_bound(link.program) + STACK_MARGIN)
    else:  # its linker keeps what the plan fixes among the other variables
        planned = {region.use: region.size_bytes for region in plan.regions}
        data -= planned["arena"] + planned["kv"] + planned.get("slots", 0)
        stack = _PROGRAM_STACK_BYTES
    return RuntimeBytes(_round_up(sizes.text), _round_up(data), stack, measured=True)


def _bound(program: Program) -> int:
    return bound_stack(program.elf, "Reset_Handler", program.indirect_calls)


def _finish(
    request: BuildRequest, asked: dict[str, str], inputs: str, toolchain: Toolchain, link: _Link
) -> BuildFolder:
    folder = request.output
    model, plan, emitted, program = link.model, link.plan, link.emitted, link.program
    quantized = folder / "quantized.safetensors"
    save_quantized(model, quantized)
    write_files({"arena.svg": draw_arena(model, plan.chunk).encode()}, folder / "gen")
    prompts = copy_prompts(request.checkpoint, folder)
    if plan.spare_pages:
        write_flash(load_board(request.board), plan.storage, folder, emitted.files["experts.bin"])
    sizes = read_sizes(program.elf)
    stack_bound = _bound(program) if plan.runtime_measured and program.elf.suffix == ".elf" else 0
    names = [program.elf.name, quantized.name, *(f"gen/{name}" for name in emitted.files), *prompts]
    write_record(
        folder,
        {
            "tool_version": __version__,
            "inputs": inputs,
            "checkpoint": asked["checkpoint"],
            "board": request.board,
            "options": {name: value for name, value in asked.items() if name not in ("checkpoint", "board")},
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
    (folder / UNFINISHED).unlink(missing_ok=True)
    return load_build(folder)
