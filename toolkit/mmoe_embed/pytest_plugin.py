"""The fixture `mmoe_board` for a firmware project's own on-board tests; pytest finds it by its entry point."""

import contextlib
import dataclasses
import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:  # imported when a test asks for a board: every pytest run loads this module
    from mmoe_embed.board import Board
    from mmoe_embed.build_folder import BuildFolder
    from mmoe_embed.golden import Golden
    from mmoe_embed.serial.client import BoardClient
    from mmoe_embed.validate import Report

_OPTIONS = {
    "build": "build folder whose board is tested",
    "port": "the board's port, any pyserial URL; without it the emulator of the build's board is started",
    "baud": "instead of the board file's rate",
    "hardware-map": "twister's YAML file, searched for the port of the build's board",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--mmoe-build` and friends; MMOE_EMBED_BUILD and so on stand in for what is not given."""
    group = parser.getgroup("mmoe-embed", "boards that run a mmoe-embed build")
    for name, words in _OPTIONS.items():
        group.addoption(f"--mmoe-{name}", default=None, help=f"{words} (or {_variable(name)})")


def _variable(name: str) -> str:
    return f"MMOE_EMBED_{name.upper().replace('-', '_')}"


def _setting(config: pytest.Config, name: str) -> str | None:
    """An option, else its environment variable."""
    value: Any = config.getoption(f"--mmoe-{name}")
    return value or os.environ.get(_variable(name)) or None


@dataclasses.dataclass(frozen=True)
class BoardUnderTest:
    """A board that is known to run its build.

    Attributes:
        client: every request of SPEC.md 8.1.
    """

    build: "BuildFolder"
    board: "Board"
    client: "BoardClient"

    @functools.cached_property
    def golden(self) -> "Golden":
        """What the board must compute."""
        from mmoe_embed.golden_board import load_golden

        return load_golden(self.build)

    def ask(self, text: str) -> str:
        """The board's whole answer to a request."""
        from mmoe_embed.prompt import stream_answer

        return "".join(stream_answer(self.client, text))

    def validate(self, steps: int = 200) -> "Report":
        """Compare every logit of random prompts with the golden; `.ok` when all bits are right."""
        from mmoe_embed.validate import draw_prompts
        from mmoe_embed.validate_build import validate_build

        identity = self.client.identify()
        prompts = draw_prompts(vocab_size=self.golden.input_count, context=identity.context, steps=steps)
        return validate_build(self.client, self.build, self.golden, prompts)


@contextlib.contextmanager
def _open_board(config: pytest.Config) -> Iterator[BoardUnderTest]:
    from mmoe_embed.board import load_board
    from mmoe_embed.build_folder import load_build
    from mmoe_embed.hardware_map import find_device, load_hardware_map
    from mmoe_embed.runners import connect_board

    folder = _setting(config, "build")
    if folder is None:
        raise pytest.UsageError(f"mmoe_board needs a build: --mmoe-build DIR, or {_variable('build')}")
    build = load_build(Path(folder))
    board = load_board(build.board)
    port, rate, map_file = (_setting(config, name) for name in ("port", "baud", "hardware-map"))
    if rate and not rate.isdecimal():
        raise pytest.UsageError(f"{rate!r} is no baud rate: --mmoe-baud 115200")
    baud = int(rate) if rate else None
    if port is None and map_file is not None:
        device = find_device(load_hardware_map(Path(map_file)), board, Path(map_file))
        port, baud = device.serial, baud or device.baud
    with connect_board(board, build, port=port, baud=baud) as client:
        yield BoardUnderTest(build, board, client)


@pytest.fixture(scope="session")
def _mmoe_session(request: pytest.FixtureRequest) -> Iterator[BoardUnderTest]:
    from mmoe_embed.errors import ToolkitError

    with contextlib.ExitStack() as stack:
        try:
            board = stack.enter_context(_open_board(request.config))
        except ToolkitError as error:  # the user's to fix: three lines instead of a traceback through our code
            raise pytest.fail.Exception(str(error), pytrace=False) from None
        yield board


@pytest.fixture
def mmoe_board(_mmoe_session: BoardUnderTest) -> BoardUnderTest:
    """The board under test, with an empty context and cleared counters."""
    _mmoe_session.client.reset(clear_statistics=True)
    return _mmoe_session
