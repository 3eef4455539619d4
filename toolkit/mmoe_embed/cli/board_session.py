"""What the verbs that talk to a board share: their options, and the open board."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import rich_click as click

from mmoe_embed.board import Board, load_board
from mmoe_embed.build_folder import BuildFolder, load_build
from mmoe_embed.runners import connect_board
from mmoe_embed.serial.client import BoardClient

build_argument = click.argument("build", type=click.Path(path_type=Path))


def port_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--port` and `--baud`."""
    port = click.option(
        "--port",
        "-p",
        metavar="URL",
        help="/dev/ttyACM0, socket://HOST:PORT, rfc2217://HOST:PORT. Default: start the board's emulator.",
    )
    baud = click.option("--baud", type=click.IntRange(min=1), metavar="RATE", help="Default: the board file's rate.")
    return port(baud(function))


@contextlib.contextmanager
def open_build(folder: Path, port: str | None, baud: int | None) -> Iterator[tuple[BuildFolder, Board, BoardClient]]:
    """The build, its board file, and the running board, already known to run this build."""
    build = load_build(folder)
    board = load_board(build.board)
    with connect_board(board, build, port=port, baud=baud) as client:
        yield build, board, client
