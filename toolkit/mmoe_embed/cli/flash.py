"""`mmoe-embed flash`: put a build on its board."""

import shlex
from pathlib import Path

import rich_click as click

from mmoe_embed.board import Board
from mmoe_embed.build_folder import BuildFolder, load_build
from mmoe_embed.cli.board_session import board_of, build_argument, port_options
from mmoe_embed.cli.output import Result, console, progress_bar, verb
from mmoe_embed.errors import UsageError
from mmoe_embed.runners import EMULATED_RUNNERS, RUNNERS, SERIAL, connect_board, make_commands
from mmoe_embed.runners.fit import check_image_fits
from mmoe_embed.runners.probe import ProbeRequest, describe_files, plan_flashing, run_flashing
from mmoe_embed.storage import FLASH_FILE, attach_flash, write_flash
from mmoe_embed.update import flash_image, layout_of, require_experts

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

    An emulated board has no flash to write: the image is checked against the board's memories and started once. Only
    the flash that holds its experts, where it has one of its own, gets those of the build again.

    The runner `serial` writes the expert image alone, over the line of a board that already runs the firmware.
    """
    folder = load_build(build)
    board = attach_flash(board_of(folder), folder.plan["storage"], folder.path)
    name = runner or board.runner.default
    emulated = name in EMULATED_RUNNERS
    if name == SERIAL:
        return _flash_experts(folder, board, port, baud, dry_run=dry_run)
    if emulated and name != board.runner.default:
        raise UsageError(f"board {board.name} is started by {board.runner.default}, not by {name}")
    request = ProbeRequest(probe, pack, west_build)
    flashing = None if emulated else plan_flashing(board, folder.elf, name, request)
    commands = make_commands(board, folder.elf, name, request)
    printable = [shlex.join(argv) for argv in commands]
    files = describe_files(flashing) if flashing else []
    data = {"board": board.name, "runner": name, "commands": printable, "files": files, "dry_run": dry_run}
    if dry_run:
        return Result(data, "\n".join([*files, *printable]))

    lines = []
    if board.kind != "host":
        used = check_image_fits(board, folder.elf)
        sizes = {memory.name: memory.usable_bytes for memory in board.memory}
        data["used_bytes"] = used
        lines.append("image fits: " + ", ".join(f"{m} {n} of {sizes[m]} B" for m, n in used.items()))
    if emulated and port is None and folder.plan["spare_pages"]:
        write_flash(board, folder.plan["storage"], folder.path, folder.expert_image.read_bytes())
        lines.append(f"experts written into its flash, {folder.path / FLASH_FILE}")
    if flashing:
        with console.status(f"writing with {name} ..."):
            run_flashing(flashing, wait_s=wait_s)
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


def _flash_experts(folder: BuildFolder, board: Board, port: str | None, baud: int | None, *, dry_run: bool) -> Result:
    """The expert image into the flash of a running board, over the serial line."""
    layout, image = layout_of(folder), folder.expert_image.read_bytes()
    data = {"board": board.name, "runner": SERIAL, "commands": [], "dry_run": dry_run, "bytes": len(image)}
    if dry_run:
        return Result(data, f"no command: {len(image)} B of experts go over the serial line of the running board")
    with (
        connect_board(board, folder, port=port, baud=baud, any_experts=True) as client,
        progress_bar() as progress,
    ):
        task = progress.add_task(f"experts into {board.name}", total=len(image))
        flash_image(client, layout, image, lambda count: progress.advance(task, count))
        require_experts(client, folder)
        identity = client.identify()
    return Result(
        data, f"{identity.board}: {len(image)} B of experts written and compared; build {identity.build_id[:12]}"
    )
