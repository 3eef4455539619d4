"""Fake boards and clients of them."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
from fake_board import FakeBoard

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
