"""`mmoe-embed boards`: list, show and check the boards, and draw new ones from CMSIS-Packs."""

import re
from pathlib import Path

import msgspec
import rich_click as click

from mmoe_embed.board import Board, ReadRate, Storage, list_boards, load_board, parse_board
from mmoe_embed.board_draft import check_board, compare_board, draft_board
from mmoe_embed.cli.output import Result, verb
from mmoe_embed.devicetree import compare_memories, describe_board, read_devicetree, read_settings
from mmoe_embed.emit.writer import write_files
from mmoe_embed.errors import UsageError
from mmoe_embed.packs import read_pack_device
from mmoe_embed.text_file import read_text

_core_option = click.option("--core", metavar="PNAME", help="Which processor of a device that has several.")


@click.group("boards")
def command() -> None:
    """List, show and check the boards that come with mmoe-embed, or one of your own; draw one from a CMSIS-Pack."""


@verb("list")
def list_command() -> Result:
    """All boards, one a line."""
    boards = [load_board(name) for name in list_boards()]
    width = max(len(board.name) for board in boards)
    lines = [f"{board.name:<{width}}  {board.core.core:<16} {board.kind:<9} {board.title}" for board in boards]
    data = [{"name": b.name, "title": b.title, "kind": b.kind, "core": b.core.core} for b in boards]
    return Result({"boards": data}, "\n".join(lines))


@verb("show")
@click.argument("board")
def show_command(board: str) -> Result:
    """One board: a name from `boards list`, or the path of a TOML file."""
    loaded = load_board(board)
    return Result(msgspec.to_builtins(loaded), render_board(loaded))


@verb("check")
@click.argument("board")
@click.option("--pack", type=click.Path(path_type=Path), help="A .pack or .pdsc: the second source to compare with.")
@click.option("--device", metavar="NAME", help="The pack's device. Default: the board's [soc] name.")
@_core_option
def check_command(board: str, pack: Path | None, device: str | None, core: str | None) -> Result:
    """Check a board file, on its own or against a CMSIS-Pack, and print every disagreement.

    Exit code 1 when there are any. Neither source is taken to be right: look into the reference manual.
    """
    loaded = load_board(board)
    problems = check_board(loaded)
    remarks: tuple[str, ...] = ()
    against = "its own rules"
    if pack is not None:
        read = read_pack_device(pack, device or loaded.soc.name, core)
        problems += compare_board(loaded, read)
        remarks = read.remarks
        against = f"{read.pack}, device {read.name}"
    elif device or core:
        raise UsageError("--device and --core name a device of a pack", try_="--pack FILE.pack")
    lines = [f"{loaded.name} against {against}: {_count(len(problems), 'disagreement')}"]
    lines += [f"  {problem}" for problem in problems]
    lines += [f"  note: {remark}" for remark in remarks]
    data = {"board": loaded.name, "against": against, "disagreements": problems, "remarks": list(remarks)}
    return Result(data, "\n".join(lines), exit_code=1 if problems else 0)


@verb("import")
@click.option("--pack", type=click.Path(path_type=Path), required=True, help="A .pack, a .pdsc or an unpacked pack.")
@click.option("--device", metavar="NAME", required=True, help="A device of the pack, or the begin of its name.")
@_core_option
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Where to; the stem is the board's name.")
def import_command(pack: Path, device: str, core: str | None, output: Path | None) -> Result:
    """Draw a board file from a CMSIS-Pack, offline, and say what a person must still fill in."""
    if output is not None and (not re.fullmatch(r"\w+\.toml", output.name) or output.exists()):
        problem = f"{output} exists already" if output.exists() else f"{output.name} is no name of a board file"
        raise UsageError(problem, try_="-o <vendor>_<board>.toml")
    read = read_pack_device(pack, device, core)
    name = output.stem if output is not None else re.sub(r"\W+", "_", read.name.lower())
    draft = draft_board(read, name, pack.name)
    lines = [draft.text.rstrip()] if output is None else [f"written: {output}"]
    if output is not None:
        output.write_text(draft.text, encoding="utf-8")
        lines += [f"  fill in: {gap}" for gap in draft.fill_in]
    lines += [f"{'# ' if output is None else '  '}note: {remark}" for remark in read.remarks]
    data = {
        "device": read.name,
        "pack": read.pack,
        "board": name,
        "toml": draft.text,
        "fill_in": list(draft.fill_in),
        "remarks": list(read.remarks),
        "output": str(output) if output is not None else None,
    }
    return Result(data, "\n".join(lines))


@verb("devicetree")
@click.argument("dts", type=click.Path(path_type=Path))
@click.option("--config", type=click.Path(path_type=Path), required=True, help="The build's .config.")
@click.option("--qemu-machine", metavar="NAME", help="Where Zephyr runs the board in QEMU.")
@click.option("--compare", is_flag=True, help="Show where a board file of mmoe-embed for the same board disagrees.")
@click.option("--output", "-o", type=click.Path(path_type=Path), required=True, help="The board file, BOARD.toml.")
def devicetree_command(dts: Path, config: Path, qemu_machine: str | None, compare: bool, output: Path) -> Result:
    """Make a board file of what a Zephyr build knows: DTS is its zephyr/zephyr.dts."""
    if output.suffix != ".toml":
        raise UsageError(f"{output} does not end in .toml", try_="-o BOARD.toml")
    tree = read_devicetree(dts)
    settings = read_settings(read_text(config))
    text = describe_board(tree, settings, output.stem, qemu_machine)
    write_files({output.name: text.encode()}, output.parent)
    lines = []
    zephyr_board = parse_board(text, output).zephyr_board or ""
    same = [b for b in map(load_board, list_boards()) if b.is_zephyr_board(zephyr_board)] if compare else []
    problems = {ours.name: compare_memories(tree, settings, ours) for ours in same}
    for name, found in problems.items():
        lines.append(f"devicetree against {name}.toml: {_count(len(found), 'disagreement')}")
        lines += [f"  {problem}" for problem in found]
    if compare and not same:
        lines.append(f"mmoe-embed has no board file for {zephyr_board}")
    data = {"board": output.stem, "toml": text, "output": str(output), "disagreements": problems}
    return Result(data, "\n".join(lines))


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"


for _command in (list_command, show_command, check_command, import_command, devicetree_command):
    command.add_command(_command)


def render_board(board: Board) -> str:
    """A checked board in words."""
    core = board.core
    isa = ", ".join(core.isa) or "no extensions"
    lines = [
        f"{board.name}: {board.title}",
        f"  kind      {board.kind}",
        f"  core      {core.core}, FPU {core.fpu}, {isa}",
        f"  console   {_render_console(board)}",
        f"  storage   {', '.join(_render_storage(storage) for storage in board.storages)}",
        f"  runner    {board.runner.default}",
    ]
    for memory in board.memory:
        budget = f", {memory.budget} B to use" if memory.budget is not None else ""
        uses = f": {', '.join(memory.use)}" if memory.use else ""
        size = f"0x{memory.base:08x} {memory.size:>11} B {memory.access:<3}"
        lines.append(f"  memory    {memory.name:<8} {memory.kind:<9} {size}{budget}{uses}")
        lines += [f"  read      {memory.name:<8} {_render_rate(rate)}: {rate.source}" for rate in memory.read]
    for write in board.boot_writes:
        lines.append(
            f"  boot      0x{write.address:08x} clear 0x{write.clear:08x} set 0x{write.set:08x}: {write.source}"
        )
    lines += [f"  source    {source}" for source in board.sources]
    if board.notes:
        lines.append(f"  note      {board.notes}")
    return "\n".join(lines)


def _render_rate(rate: ReadRate) -> str:
    how = f"{rate.pattern or ''} reads of {rate.block_bytes} B" if rate.block_bytes else "at most"
    return f"{rate.bytes_per_s / 1e9:g} GB/s, {how.strip()}"


def _render_storage(storage: Storage) -> str:
    if storage.base is None:
        return storage.driver
    interrupt = "" if storage.irq is None else f", interrupt {storage.irq}"
    return f"{storage.driver} at 0x{storage.base:08x}{interrupt}"


def _render_console(board: Board) -> str:
    console = board.console
    if console.base is None:
        return console.driver
    return f"{console.driver} at 0x{console.base:08x}, receive interrupt {console.rx_irq}, {console.baud} baud"
