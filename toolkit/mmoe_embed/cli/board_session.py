"""What the verbs that talk to a board share: their options, and the open board."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import rich_click as click

from mmoe_embed.board import Board, load_board
from mmoe_embed.build_folder import BuildFolder, load_build
from mmoe_embed.errors import UsageError
from mmoe_embed.hardware_map import find_device, load_hardware_map
from mmoe_embed.runners import connect_board
from mmoe_embed.serial.client import BoardClient
from mmoe_embed.storage import FlashModel, set_pace

build_argument = click.argument("build", type=click.Path(path_type=Path))


def _check_port(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """An empty port, from a variable that a CI job did not set, would start the emulator in the board's place."""
    if value is not None and not value.strip():
        raise UsageError("--port is empty", try_="name the port; leave the option out to start the board's emulator")
    return value


def port_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--port`, `--baud` and `--hardware-map`, for a verb with `build_argument`; the verb takes port and baud."""
    port = click.option(
        "--port",
        "-p",
        metavar="URL",
        callback=_check_port,
        help="/dev/ttyACM0, socket://HOST:PORT, rfc2217://HOST:PORT. Default: start the board's emulator.",
    )
    baud = click.option("--baud", type=click.IntRange(min=1), metavar="RATE", help="Default: the board file's rate.")
    hardware_map = click.option(
        "--hardware-map", type=click.Path(path_type=Path), metavar="FILE", help="Twister's: has the port of the board."
    )

    @functools.wraps(function)
    def find_port(*, hardware_map: Path | None, **arguments: Any) -> Any:
        if hardware_map is not None:
            if arguments["port"] is not None:
                raise UsageError("--port and --hardware-map both name a port", try_="leave one of them out")
            board = load_board(load_build(arguments["build"]).board)
            device = find_device(load_hardware_map(hardware_map), board, hardware_map)
            arguments |= {"port": device.serial, "baud": arguments["baud"] or device.baud}
        return function(**arguments)

    return port(baud(hardware_map(find_port)))


def board_of(build: BuildFolder) -> Board:
    """The board file of a build, at the pace that its modelled flash asks of the emulator."""
    return set_pace(load_board(build.board), flash_of(build))


def flash_of(build: BuildFolder) -> FlashModel | None:
    """The modelled flash of a build."""
    flash = build.record.get("flash_model")
    return FlashModel(**flash) if flash else None


@contextlib.contextmanager
def open_build(folder: Path, port: str | None, baud: int | None) -> Iterator[tuple[BuildFolder, Board, BoardClient]]:
    """The build, its board file, and the running board, already known to run this build."""
    build = load_build(folder)
    board = board_of(build)
    with connect_board(board, build, port=port, baud=baud) as client:
        yield build, board, client
