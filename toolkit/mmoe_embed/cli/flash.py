"""`mmoe-embed flash`: put a build on its board."""

import shlex
from pathlib import Path

import rich_click as click

from mmoe_embed.build_folder import load_build
from mmoe_embed.cli.board_session import board_of, build_argument, port_options
from mmoe_embed.cli.output import Result, console, verb
from mmoe_embed.errors import UsageError
from mmoe_embed.runners import EMULATED_RUNNERS, RUNNERS, connect_board, make_commands
from mmoe_embed.runners.fit import check_image_fits
from mmoe_embed.runners.probe import ProbeRequest, plan_flashing, run_flashing

_WRITTEN = {
    "pyocd": "written, compared",
    "openocd": "written, verified",
    "jlink": "written, verified",
    "west": "written (verified as its own runner does)",
}
_STARTED = {
    "qemu": "was started once in QEMU (nothing to write)",
    "host": "was started once as a program (nothing to write)",
}


@verb("flash")
@build_argument
@click.option("--runner", "-r", type=click.Choice(RUNNERS), help="Default: the board file's.")
@port_options
@click.option("--dry-run", is_flag=True, help="Print the exact commands and do nothing.")
@click.option("--wait", "wait_s", type=click.IntRange(min=0), default=0, help="Wait this many seconds for a probe.")
@click.option("--probe", metavar="SERIAL", help="Which probe, where several are connected.")
@click.option("--pack", type=click.Path(path_type=Path), help="pyocd: the CMSIS-Pack file of the chip.")
@click.option("--west-build", type=click.Path(path_type=Path), help="west: a west build directory of this board.")
def command(
    build: Path,
    runner: str | None,
    port: str | None,
    baud: int | None,
    dry_run: bool,
    wait_s: int,
    probe: str | None,
    pack: Path | None,
    west_build: Path | None,
) -> Result:
    """Put BUILD on its board, and make sure that the board runs it.

    An emulated board has no flash to write: the image is checked against the board's memories and started once.
    """
    folder = load_build(build)
    board = board_of(folder)
    name = runner or board.runner.default
    emulated = name in EMULATED_RUNNERS
    if emulated and name != board.runner.default:
        raise UsageError(f"board {board.name} is started by {board.runner.default}, not by {name}")
    request = ProbeRequest(probe, pack, west_build)
    commands = make_commands(board, folder.elf, name, request)
    printable = [shlex.join(argv) for argv in commands]
    data = {"board": board.name, "runner": name, "commands": printable, "dry_run": dry_run}
    if dry_run:
        return Result(data, "\n".join(printable))

    lines = []
    if board.kind != "host":
        used = check_image_fits(board, folder.elf)
        sizes = {memory.name: memory.usable_bytes for memory in board.memory}
        data["used_bytes"] = used
        lines.append("image fits: " + ", ".join(f"{m} {n} of {sizes[m]} B" for m, n in used.items()))
    if not emulated:
        with console.status(f"writing with {name} ..."):
            run_flashing(plan_flashing(board, folder.elf, name, request), wait_s=wait_s)
        lines.append(f"{_WRITTEN[name]} and started by {name}")
    data["identified"] = emulated or port is not None
    if data["identified"]:
        with connect_board(board, folder, port=port, baud=baud) as client:
            identity = client.identify()
        started = "answers" if port else _STARTED.get(name, "answers")
        lines.append(f"{identity.board} {started}: it runs build {identity.build_id[:12]}")
    else:
        lines.append("not asked who it is: give --port to check that the board runs this build")
    return Result(data, "\n".join(lines))
