"""Runners: how a build reaches a board, emulated or real, and how its port is opened."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from mmoe_embed.board import Board
from mmoe_embed.build_folder import BuildFolder
from mmoe_embed.errors import UsageError
from mmoe_embed.runners.emulated import make_host_command, make_qemu_command, start_host, start_qemu
from mmoe_embed.runners.probe import PROBE_RUNNERS, ProbeRequest, plan_flashing
from mmoe_embed.serial.client import BoardClient
from mmoe_embed.serial.link import Link
from mmoe_embed.serial.port import DEFAULT_BAUD, Port
from mmoe_embed.storage import attach_flash
from mmoe_embed.update import require_experts

EMULATED_RUNNERS = ("host", "qemu")
SERIAL = "serial"  # the expert image alone, into a board that runs
RUNNERS = (*EMULATED_RUNNERS, *PROBE_RUNNERS, SERIAL)


def make_commands(
    board: Board, elf: Path, runner: str | None = None, request: ProbeRequest | None = None
) -> list[list[str]]:
    """What `flash --dry-run` prints: the exact commands, PORT standing for a free port."""
    name = runner or board.runner.default
    if name == "qemu":
        return [make_qemu_command(board, elf, "PORT")]
    if name == "host":
        return [make_host_command(board, elf)]
    return [list(command.argv) for command in plan_flashing(board, elf, name, request).commands]


@contextlib.contextmanager
def start_board(board: Board, elf: Path) -> Iterator[str]:
    """Start the board's emulator or host program; yields the URL of its port.

    Raises:
        UsageError: the board is a real one.
    """
    if board.runner.default == "qemu":
        with start_qemu(board, elf) as url:
            yield url
    elif board.runner.default == "host":
        with start_host(board, elf) as url:
            yield url
    else:
        raise UsageError(
            f"board {board.name} is a real one: its port is needed",
            try_="--port /dev/ttyACM0 (mmoe-embed doctor)",
        )


@contextlib.contextmanager
def connect_board(
    board: Board,
    build: BuildFolder,
    *,
    port: str | None = None,
    baud: int | None = None,
    any_experts: bool = False,
) -> Iterator[BoardClient]:
    """Open the board of a build and make sure that it runs this build.

    Args:
        board: the build's board.
        build: whose identity the board must have.
        port: any pyserial URL; None starts the board's emulator.
        baud: instead of the board file's rate.
        any_experts: whether the board may have other experts than the build folder records.

    Raises:
        MismatchError: the board runs another build, or has other experts.
        DeviceError: it cannot be reached.
    """
    with contextlib.ExitStack() as stack:
        url = port or stack.enter_context(
            start_board(attach_flash(board, build.plan["storage"], build.path), build.elf)
        )
        rate = baud or board.console.baud or DEFAULT_BAUD
        client = BoardClient(stack.enter_context(Link(Port(url, rate))))
        client.identify(patience_s=15.0 if port is None else 6.0)
        client.require_build(build.model_id, build.build_id)
        if not any_experts:
            require_experts(client, build)
        yield client
