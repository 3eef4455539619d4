"""`mmoe-embed boards`: list and show the boards."""

import msgspec
import rich_click as click

from mmoe_embed.board import Board, list_boards, load_board
from mmoe_embed.cli.output import Result, verb


@click.group("boards")
def command() -> None:
    """List and show the boards that come with mmoe-embed, or one of your own."""


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


command.add_command(list_command)
command.add_command(show_command)


def render_board(board: Board) -> str:
    """A checked board in words."""
    core = board.core
    isa = ", ".join(core.isa) or "no extensions"
    lines = [
        f"{board.name}: {board.title}",
        f"  kind      {board.kind}",
        f"  core      {core.core}, FPU {core.fpu}, {isa}",
        f"  console   {_render_console(board)}",
        f"  runner    {board.runner.default}",
    ]
    for memory in board.memory:
        budget = f", {memory.budget} B to use" if memory.budget is not None else ""
        uses = f": {', '.join(memory.use)}" if memory.use else ""
        size = f"0x{memory.base:08x} {memory.size:>11} B {memory.access:<3}"
        lines.append(f"  memory    {memory.name:<8} {memory.kind:<9} {size}{budget}{uses}")
    lines += [f"  source    {source}" for source in board.sources]
    if board.notes:
        lines.append(f"  note      {board.notes}")
    return "\n".join(lines)


def _render_console(board: Board) -> str:
    console = board.console
    if console.base is None:
        return console.driver
    return f"{console.driver} at 0x{console.base:08x}, receive interrupt {console.rx_irq}, {console.baud} baud"
