"""Child processes that never outlive us: emulators and host programs."""

import contextlib
import ctypes
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence

from mmoe_embed.errors import DeviceError

_STOP_S = 2.0
_PR_SET_PDEATHSIG = 1


@contextlib.contextmanager
def start_process(argv: Sequence[str], ready: re.Pattern[str], *, what: str, timeout_s: float = 15.0) -> Iterator[str]:
    """Start a program, wait for a line that says it is ready, yield that line; stop it at the end.

    Raises:
        DeviceError: it ended or stayed silent before it was ready; its last output is in the message.
    """
    process = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 (runs one system call)
    )
    lines: queue.Queue[str | None] = queue.Queue()
    reader = threading.Thread(target=_read_lines, args=(process, lines), daemon=True)
    reader.start()
    try:
        yield _await_line(argv, lines, ready, what, timeout_s)
    finally:
        _stop(process)
        reader.join(_STOP_S)
        if process.stdout:
            process.stdout.close()


def find_free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_line(
    argv: Sequence[str], lines: "queue.Queue[str | None]", ready: re.Pattern[str], what: str, timeout_s: float
) -> str:
    seen: list[str] = []
    end = time.monotonic() + timeout_s
    while True:
        try:
            line = lines.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            failure = f"{what} was not ready after {timeout_s:g} s"
            break
        if line is None:
            failure = f"{what} ended before it was ready"
            break
        if ready.search(line):
            return line
        seen.append(line.strip())
    said = " | ".join(seen[-3:]) or "nothing"
    raise DeviceError(f"{failure}; it said: {said}", at=" ".join(argv))


def _read_lines(process: "subprocess.Popen[str]", lines: "queue.Queue[str | None]") -> None:
    """Goes on after the ready line, so that a talkative child never blocks on a full pipe."""
    if process.stdout:
        for line in process.stdout:
            lines.put(line)
    lines.put(None)


def _stop(process: "subprocess.Popen[str]") -> None:
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(_STOP_S)


_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def _die_with_parent() -> None:
    """In the child: be killed when the thread that started it dies, even by SIGKILL."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
