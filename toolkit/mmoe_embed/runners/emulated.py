"""Runners that start what the build made: qemu-system-arm, or the host program itself."""

import contextlib
import platform
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from mmoe_embed.board import Board
from mmoe_embed.errors import DeviceError, ToolchainError, UsageError
from mmoe_embed.runners.process import find_free_port, start_process

QEMU = "qemu-system-arm"
_TRIES = 5
_QEMU_READY = re.compile(r"waiting for connection on")
# of our own program, and of Zephyr's native_sim
HOST_READY = re.compile(r"listening on 127\.0\.0\.1:(\d+)|connected to pseudotty: (\S+)")


def make_qemu_command(board: Board, elf: Path, port: int | str) -> list[str]:
    """The command that runs an image with its UART on a loopback port; it starts when a client connects."""
    qemu = board.runner.qemu
    if qemu is None:
        raise UsageError(f"board {board.name} has no [runner.qemu]", at=f"{board.name}.toml")
    head = [QEMU, "-M", qemu.machine, "-display", "none", "-monitor", "none", *qemu.args]
    return [*head, "-kernel", str(elf), "-serial", f"tcp:127.0.0.1:{port},server=on,wait=on,nodelay=on"]


def make_host_command(board: Board, elf: Path) -> list[str]:
    """The command that runs a host program, through an emulator on a machine of another architecture."""
    host = board.runner.host
    if host is None:
        raise UsageError(f"board {board.name} has no [runner.host]", at=f"{board.name}.toml")
    native = host.machine == platform.machine()
    return [*([] if native else host.emulator), str(elf.resolve()), *host.args]


@contextlib.contextmanager
def start_qemu(board: Board, elf: Path) -> Iterator[str]:
    """Run an image in QEMU; yields the URL of its port.

    Raises:
        ToolchainError: QEMU is not installed.
        DeviceError: QEMU refuses the image or the machine.
    """
    _require(QEMU, "sudo apt-get install qemu-system-arm")
    for attempt in range(_TRIES):
        port = find_free_port()
        with contextlib.ExitStack() as stack:
            try:
                command = make_qemu_command(board, elf, port)
                stack.enter_context(start_process(command, _QEMU_READY, what="QEMU"))
            except DeviceError as error:
                # another process was faster than we were
                if "in use" in error.message and attempt + 1 < _TRIES:
                    continue
                raise
            yield f"socket://127.0.0.1:{port}"
            return


@contextlib.contextmanager
def start_host(board: Board, elf: Path) -> Iterator[str]:
    """Run a host program; yields the URL of its port, or the path of its pseudo-terminal."""
    command = make_host_command(board, elf)
    if len(command) > 1:
        _require(command[0], "sudo apt-get install qemu-user")
    with start_process(command, HOST_READY, what="the host program") as line:
        found = HOST_READY.search(line)
        assert found
        yield found[2] or f"socket://127.0.0.1:{found[1]}"


def _require(program: str, install: str) -> None:
    if shutil.which(program) is None:
        raise ToolchainError(f"{program} is not installed", try_=install)
