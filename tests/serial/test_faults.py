"""Every fault of a bench, on an emulated board with its real firmware: the right result or a named error, never a wrong pass."""

import contextlib
import os
import random
import re
import signal
import socket
import subprocess
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from fake_board import BANNER, HostileLine

from mmoe_embed.board import load_board
from mmoe_embed.build_folder import BuildFolder
from mmoe_embed.errors import DeviceError, ToolkitError
from mmoe_embed.golden import Golden
from mmoe_embed.quantized import load_quantized
from mmoe_embed.runners import start_board
from mmoe_embed.runners.emulated import make_qemu_command
from mmoe_embed.runners.process import find_free_port, start_process
from mmoe_embed.serial.client import BoardClient, ResetError
from mmoe_embed.serial.link import NoReplyError
from mmoe_embed.serial.port import Port
from mmoe_embed.validate import Report, draw_prompts, validate_board

pytestmark = [pytest.mark.arm, pytest.mark.qemu]

Connect = Callable[..., BoardClient]
FAULTS = [{"drop": 0.002}, {"double": 0.002}, {"flip": 0.002}, {"delay": 0.05}, {"cut": 0.02}]


@pytest.fixture
def board_port(m55_build: BuildFolder) -> Iterator[int]:
    """A freshly started emulated board; its TCP port."""
    with start_board(load_board(m55_build.board), m55_build.elf) as url:
        yield int(url.rpartition(":")[2])


@pytest.fixture(scope="module")
def golden(m55_build: BuildFolder) -> Golden:
    return Golden(load_quantized(m55_build.quantized))


def _validate(client: BoardClient, golden: Golden, build: BuildFolder, steps: int) -> Report:
    client.identify(patience_s=30)
    prompts = draw_prompts(vocab_size=290, context=48, steps=steps, seed=1, least=2)
    return validate_board(client, golden, prompts, plan=build.plan)


@pytest.mark.parametrize("faults", FAULTS, ids=lambda faults: next(iter(faults)))
def test_damaged_bytes(
    board_port: int, golden: Golden, m55_build: BuildFolder, connect: Connect, faults: dict[str, float]
) -> None:
    with HostileLine(board_port, faults, seed=4) as line:
        report = _validate(connect(line.url), golden, m55_build, steps=8)
    assert line.touched > 0
    assert report.ok, [check for check in report.checks if not check.ok]
    assert report.comparison.equal_logits == 8


@pytest.mark.slow
def test_one_percent_byte_errors_over_1000_steps(board_port: int, golden: Golden, connect: Connect) -> None:
    """Short frames only: each step's CRC-32 of its logits. test_hostile_line.py fetches logits over such a line too."""
    source = random.Random(5)
    with HostileLine(board_port, {"flip": 0.005, "drop": 0.005}, seed=3) as line:
        client = connect(line.url)
        client.identify(patience_s=60)
        for number in range(1000):
            if number % 48 == 0:
                client.reset()
                golden.reset()
            token = source.randrange(290)
            step, expected = client.step(token), golden.step(token)
            assert (step.position, step.logits_crc) == (number % 48, zlib.crc32(expected.tobytes()))
    assert client.link.retries > 100


def test_reset_in_the_middle_of_a_run(m55_build: BuildFolder, golden: Golden, connect: Connect) -> None:
    monitor = find_free_port()
    command = make_qemu_command(load_board(m55_build.board), m55_build.elf, serial := find_free_port())
    command[command.index("none", command.index("-monitor"))] = f"tcp:127.0.0.1:{monitor},server=on,wait=off"
    with start_process(command, re.compile("waiting for connection on"), what="QEMU"):
        client = connect(f"socket://127.0.0.1:{serial}")
        client.identify(patience_s=15)
        client.reset()
        client.step(1)
        client.step(2)
        with socket.create_connection(("127.0.0.1", monitor)) as console:
            console.sendall(b"system_reset\n")
            time.sleep(0.3)
        with pytest.raises(ResetError, match=r"position 0, expected 2|reset in mid-run: boot 1, now 2"):
            client.step(3)
        with pytest.raises(ResetError, match="boot 1, now 2"):
            client.identify()
        # the same command again works
        assert _validate(connect_again(client, connect), golden, m55_build, steps=4).ok


def test_emulator_stopped_in_mid_run(m55_build: BuildFolder, golden: Golden, connect: Connect) -> None:
    command = make_qemu_command(load_board(m55_build.board), m55_build.elf, serial := find_free_port())
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _await_listener(serial)
        client = connect(f"socket://127.0.0.1:{serial}", step_patience_s=1.0)
        client.identify(patience_s=30)
        client.reset()
        client.step(1)
        process.send_signal(signal.SIGSTOP)
        with pytest.raises(NoReplyError, match=r"no reply to step .* silent now") as caught:
            client.step(2)
        assert "stopped" in caught.value.try_
        process.send_signal(signal.SIGCONT)
        assert _validate(connect_again(client, connect), golden, m55_build, steps=4).ok
    finally:
        process.kill()
        process.wait()


def _await_listener(port: int) -> None:
    """Look, but do not connect: QEMU serves the first client alone."""
    end = time.monotonic() + 15
    while f"0100007F:{port:04X}" not in Path("/proc/net/tcp").read_text():
        assert time.monotonic() < end
        time.sleep(0.05)


def connect_again(client: BoardClient, connect: Connect) -> BoardClient:
    client.close()
    return connect(client.link.port.url)


def test_unplugged_and_plugged_in_again(
    board_port: int, golden: Golden, m55_build: BuildFolder, connect: Connect
) -> None:
    with HostileLine(board_port, {}, seed=0) as line:
        client = connect(line.url)
        client.identify(patience_s=15)
        client.reset()
        client.step(1)
    with pytest.raises(DeviceError, match=r"gone|no reply"):  # noqa: PT012 (the first one may still get through)
        for _ in range(3):
            client.step(1)
    client.close()
    with HostileLine(board_port, {}, seed=0) as line:
        assert _validate(connect(line.url), golden, m55_build, steps=4).ok


def test_board_that_babbles_at_start(board_port: int, golden: Golden, m55_build: BuildFolder, connect: Connect) -> None:
    babble = b"\xff\x13\0\0boot rom v1\r\n\0\x05ab" + BANNER * 20 + bytes(range(256))
    with HostileLine(board_port, {}, seed=0, babble=babble) as line:
        assert _validate(connect(line.url), golden, m55_build, steps=4).ok


def test_another_program_on_the_port(board_port: int, connect: Connect) -> None:
    first = connect(f"socket://127.0.0.1:{board_port}")
    first.identify(patience_s=15)
    with pytest.raises(NoReplyError, match="silent") as caught:
        connect(f"socket://127.0.0.1:{board_port}").identify(patience_s=1.0)
    assert "another program" in caught.value.try_
    assert first.identify().boots == 1


def test_wrong_baud_rate_is_suspected(board_port: int, connect: Connect) -> None:
    with HostileLine(board_port, {}, seed=0, sampled_at=115200 / 57600) as line, pytest.raises(NoReplyError) as caught:
        connect(line.url).identify(patience_s=3.0)
    assert "baud" in caught.value.message + caught.value.try_


def test_random_frames_never_stop_the_board(
    board_port: int, golden: Golden, m55_build: BuildFolder, connect: Connect
) -> None:
    source = np.random.default_rng(9)
    with socket.create_connection(("127.0.0.1", board_port)) as wire:
        wire.settimeout(0.3)
        for _ in range(300):
            body = source.integers(1, 256, source.integers(1, 60), dtype=np.uint8).tobytes()
            wire.sendall(b"\0" + body + b"\0")
        received = b""
        with contextlib.suppress(TimeoutError):
            while data := wire.recv(65536):
                received += data
    assert b"\0" not in received  # text, but not one frame: no reply to a bad checksum
    assert _validate(connect(f"socket://127.0.0.1:{board_port}"), golden, m55_build, steps=4).ok


def test_ports_listen_on_loopback_only(board_port: int) -> None:
    """As the kernel sees it: 0100007F is 127.0.0.1."""
    listening = [
        line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if line.split()[3] == "0A"
    ]
    assert [address for address in listening if address.endswith(f":{board_port:04X}")] == [
        f"0100007F:{board_port:04X}"
    ]
    everywhere = [line.split() for line in Path("/proc/net/tcp6").read_text().splitlines()[1:]]
    assert not [line for line in everywhere if line[3] == "0A" and line[1].endswith(f":{board_port:04X}")]


def test_pty_of_qemu(m55_build: BuildFolder, golden: Golden, connect: Connect) -> None:
    command = make_qemu_command(load_board(m55_build.board), m55_build.elf, "")
    command[-1] = "pty"
    ready = re.compile(r"redirected to (/dev/pts/\d+)")
    with start_process(command, ready, what="QEMU") as line:
        found = ready.search(line)
        assert found
        client = connect(found[1])
        assert _validate(client, golden, m55_build, steps=4).ok
        with pytest.raises(DeviceError, match=f"in use by .*pid {os.getpid()}|in use"):
            Port(found[1])


@pytest.mark.filterwarnings("ignore:set(Daemon|Name):DeprecationWarning")  # in pyserial 3.5
def test_rfc2217(board_port: int, golden: Golden, m55_build: BuildFolder, connect: Connect) -> None:
    with serve_rfc2217(board_port) as url:
        assert _validate(connect(url), golden, m55_build, steps=4).ok
        with pytest.raises(ToolkitError, match="cannot connect"):
            Port("rfc2217://127.0.0.1:1")


@contextlib.contextmanager
def serve_rfc2217(board_port: int) -> Iterator[str]:
    """pyserial's own RFC 2217 server before the board, as ser2net would be."""
    import serial.rfc2217

    port = serial.serial_for_url("loop://", timeout=0)  # takes the settings that the client negotiates
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(("127.0.0.1", board_port)) as board:
        stop = threading.Event()

        def serve() -> None:
            client, _ = server.accept()
            connection = Connection(client)
            manager = serial.rfc2217.PortManager(port, connection)
            client.settimeout(0.02)
            board.settimeout(0.02)
            with contextlib.suppress(OSError), client:
                while not stop.is_set():
                    with contextlib.suppress(TimeoutError):
                        data = client.recv(4096)
                        if not data:
                            return
                        board.sendall(b"".join(manager.filter(data)))
                    with contextlib.suppress(TimeoutError):
                        connection.write(b"".join(manager.escape(board.recv(4096))))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"rfc2217://127.0.0.1:{server.getsockname()[1]}"
        finally:
            stop.set()
            thread.join(5)
            port.close()


class Connection:
    """What PortManager writes to."""

    def __init__(self, client: socket.socket) -> None:
        self._client = client

    def write(self, data: bytes) -> None:
        self._client.sendall(data)
