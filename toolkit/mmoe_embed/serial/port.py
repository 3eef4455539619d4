"""Opening a port by any pyserial URL, and reading it without waiting for ever."""

import errno
import os
import select
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import serial  # type: ignore[import-untyped]
from serial.tools import list_ports  # type: ignore[import-untyped]

from mmoe_embed.errors import DeviceError, UsageError

DEFAULT_BAUD = 115200
_WRITE_TIMEOUT_S = 5.0


class Port:
    """An open port; `read` returns as soon as there is something, or b"" when the time is over."""

    def __init__(self, url: str, baud: int = DEFAULT_BAUD) -> None:
        """Open the port, for this process alone.

        Raises:
            UsageError: the URL is not one.
            DeviceError: no such port, no right to it, in use, or the connection is refused.
        """
        if url.startswith(("socket://", "rfc2217://")):
            _check_address(url)
        self.url = url
        self.baud = baud
        write_timeout_s = None if url.startswith("rfc2217://") else _WRITE_TIMEOUT_S  # pyserial has none there
        try:
            self._serial = serial.serial_for_url(
                url, baudrate=baud, timeout=0, write_timeout=write_timeout_s, exclusive=True
            )
        except ValueError as error:
            raise UsageError(
                f"{url!r} is no port: {error}", try_="/dev/ttyACM0, socket://HOST:PORT or rfc2217://HOST:PORT"
            ) from None
        except (serial.SerialException, OSError) as error:
            raise _explain_open_failure(url, error) from None
        connection = getattr(self._serial, "_socket", None)
        if isinstance(connection, socket.socket):  # small frames must not wait for each other
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self._descriptor: int | None = self._serial.fileno()
        except (AttributeError, OSError):  # rfc2217:// and loop:// have none
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def read(self, timeout_s: float) -> bytes:
        """Bytes that have come in, at most 64 KiB; waits up to `timeout_s` for the first."""
        try:
            if self._descriptor is not None:
                if not select.select([self._descriptor], [], [], max(0.0, timeout_s))[0]:
                    return b""
                return bytes(self._serial.read(65536))
            deadline = time.monotonic() + timeout_s
            while not (data := bytes(self._serial.read(65536))) and time.monotonic() < deadline:
                time.sleep(0.001)
            return data
        except (serial.SerialException, OSError, TypeError) as error:  # TypeError: closed under it
            raise self._lost(error) from None

    def write(self, data: bytes) -> None:
        """Send all bytes."""
        try:
            self._serial.write(data)
        except serial.SerialTimeoutException:
            raise DeviceError(
                f"the board takes no bytes: {len(data)} B waited {_WRITE_TIMEOUT_S:g} s",
                at=self.url,
                try_="reset the board; on a USB adapter, check that flow control is off",
            ) from None
        except (serial.SerialException, OSError) as error:
            raise self._lost(error) from None

    def close(self) -> None:
        """Give the port back; never fails."""
        # pyserial leaves a socket open when its peer has gone first
        connection = getattr(self._serial, "_socket", None)
        try:
            self._serial.close()
        except (serial.SerialException, OSError):
            pass
        finally:
            if connection is not None:
                connection.close()

    def find_holders(self) -> str:
        """Other programs that have the same device open, in words; empty when none is known."""
        return _find_holders(self.url) if self.url.startswith("/") else ""

    def _lost(self, error: Exception) -> DeviceError:
        return DeviceError(
            f"the connection to the board is gone: {error}",
            at=self.url,
            try_="check the cable or the emulator, then run the same command again",
        )


def _check_address(url: str) -> None:
    try:
        parts = urlsplit(url)
        complete = bool(parts.hostname and parts.port)
    except ValueError:
        complete = False
    if not complete:
        scheme = url.partition("://")[0]
        raise UsageError(f"{url!r} is no port: it names no host and port", try_=f"{scheme}://HOST:PORT")


def _explain_open_failure(url: str, error: Exception) -> DeviceError:
    code = getattr(error, "errno", None)
    text = str(error)
    if "://" in url and not url.startswith("spy://"):
        return DeviceError(
            f"cannot connect: {text.removeprefix('Could not open port ')}",
            at=url,
            try_="start what listens there first; without --port the board's emulator is started",
        )
    if code == errno.ENOENT or "No such file" in text:
        ports = ", ".join(port.device for port in list_ports.comports()) or "none"
        return DeviceError(
            "there is no such port", at=url, try_=f"plug the board in, or choose another; ports now: {ports}"
        )
    if code == errno.EACCES or "Permission denied" in text:
        return DeviceError(
            "no right to open the port", at=url, try_="sudo usermod -aG dialout $USER, then log in again"
        )
    if code in (errno.EBUSY, errno.EAGAIN) or "exclusively lock" in text or "busy" in text:
        holders = _find_holders(url)
        by = f" by {holders}" if holders else " by another program"
        return DeviceError(f"the port is in use{by}", at=url, try_="close that program and run the command again")
    if code in (errno.ENOTTY, errno.EINVAL) or "Could not configure port" in text:
        return DeviceError("this is not a serial port", at=url, try_="ls /dev/serial/by-id")
    return DeviceError(f"cannot open the port: {text}", at=url, try_="mmoe-embed doctor")


def _find_holders(device: str) -> str:
    """Programs that have a device open, as `name (pid N)`; only what this user may see."""
    target = os.path.realpath(device)
    holders = set()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.readlink(link) == target and link.parts[2] != str(os.getpid()):
                name = Path("/proc", link.parts[2], "comm").read_text().strip()
                holders.add(f"{name} (pid {link.parts[2]})")
        except OSError:
            continue
    return ", ".join(sorted(holders))
