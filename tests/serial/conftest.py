"""Fake boards, clients of them, and builds of a small model."""

import functools
import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_board import FakeBoard
from random_model import small_config, write_checkpoint
from rich.console import Console
from verbs import Run, call_verb

from mmoe_embed.build import BuildRequest, build_firmware
from mmoe_embed.build_folder import BuildFolder
from mmoe_embed.serial.client import BoardClient
from mmoe_embed.serial.link import Link
from mmoe_embed.serial.port import Port


@pytest.fixture(autouse=True)
def _close_without_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pyserial sleeps 0.3 s after it has closed a socket."""
    monkeypatch.setattr("serial.urlhandler.protocol_socket.time", SimpleNamespace(sleep=lambda _: None))


@pytest.fixture
def board() -> Iterator[FakeBoard]:
    with FakeBoard() as fake:
        yield fake


@pytest.fixture
def connect() -> Iterator[Callable[..., BoardClient]]:
    """Opens clients by URL and closes them at the end."""
    opened = []

    def open_client(url: str, **settings: float) -> BoardClient:
        client = BoardClient(Link(Port(url)), **settings)
        opened.append(client)
        return client

    yield open_client
    for client in opened:
        client.close()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return functools.partial(call_verb, capsys)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint"), small_config(vocab_size=290), seed=7)


def build_for(checkpoint: Path, board: str, folder: Path, *programs: str) -> BuildFolder:
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"no {program}")
    return build_firmware(BuildRequest(checkpoint, board, folder), Console(file=io.StringIO()))


@pytest.fixture(scope="session")
def host_build(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> BuildFolder:
    return build_for(checkpoint, "host_x86_64", tmp_path_factory.mktemp("host"), "gcc")


@pytest.fixture(scope="session")
def m55_build(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> BuildFolder:
    programs = ("arm-none-eabi-gcc", "qemu-system-arm")
    return build_for(checkpoint, "qemu_mps3_an547", tmp_path_factory.mktemp("m55"), *programs)
