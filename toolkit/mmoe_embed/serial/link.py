"""Requests and replies over a port that may lose, double, damage or delay bytes; no wait is endless."""

import random
import time
from types import TracebackType
from typing import Self

from mmoe_embed.errors import DeviceError
from mmoe_embed.serial.frames import REPLY, Frame, FrameReader, count_binary, encode_frame
from mmoe_embed.serial.port import Port

IDENTIFY = 0x01
_DRAIN_S = 0.05
_LEAST_WAIT_S = {True: 0.05, False: 0.02}  # a device: USB adapters hold bytes back for 16 ms
_BITS_PER_BYTE = 10  # 8N1


class NoReplyError(DeviceError):
    """A request was sent several times and no intact reply came."""


class RoundTrip:
    """How long to wait for a reply: smoothed time plus four deviations, as TCP does it (RFC 6298, 2)."""

    def __init__(self, first_s: float, least_s: float, most_s: float) -> None:
        self.timeout_s = first_s
        self._least_s, self._most_s = least_s, most_s
        self._mean_s: float | None = None
        self._deviation_s = 0.0

    def learn(self, taken_s: float) -> None:
        """Take the time of a request that was sent once."""
        if self._mean_s is None:
            self._mean_s, self._deviation_s = taken_s, taken_s / 2
        else:
            self._deviation_s += (abs(taken_s - self._mean_s) - self._deviation_s) / 4
            self._mean_s += (taken_s - self._mean_s) / 8
        self.timeout_s = min(self._most_s, max(self._least_s, self._mean_s + 4 * self._deviation_s))


class Link:
    """One board at the other end of a port.

    A request is repeated with its sequence number until its reply comes; the board answers a repeated
    request from memory (SPEC.md 8.1), so that nothing is executed twice. Other replies are thrown away.

    Attributes:
        retries: requests sent again so far.
        least_wait_s: no reply is given up sooner.
        reader: what came in, for diagnosis.
    """

    def __init__(self, port: Port, *, first_sequence: int | None = None) -> None:
        self.port = port
        self.reader = FrameReader()
        self.retries = 0
        self.least_wait_s = _LEAST_WAIT_S["://" not in port.url]
        self._pace = RoundTrip(0.4, self.least_wait_s, 1.0)
        # Not always 1: a board remembers the last request of the session before this one.
        self._sequence = first_sequence or random.randrange(1, 256)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the port back."""
        self.port.close()

    def request(
        self,
        kind: int,
        payload: bytes = b"",
        *,
        name: str = "",
        reply_bytes: int = 64,
        pace: RoundTrip | None = None,
        patience_s: float = 10.0,
    ) -> bytes:
        """Send a request and return the payload of its reply.

        Args:
            kind: request type.
            payload: what goes with it.
            name: of the request, for messages.
            reply_bytes: about how long the reply is, for the first time-out.
            pace: what requests of this kind have taken so far, and what this one teaches; the wait is doubled
                for every repetition. None for requests that run no model.
            patience_s: give up after this long altogether.

        Raises:
            NoReplyError: no intact reply in time.
            DeviceError: the port failed.
        """
        sequence = 0 if kind == IDENTIFY else self._next_sequence()
        wire = encode_frame(Frame(kind, sequence, payload))
        transfer_s = (len(wire) + reply_bytes + 16) * _BITS_PER_BYTE / self.port.baud
        pace = pace or self._pace
        first_wait_s = pace.timeout_s + transfer_s
        end = time.monotonic() + patience_s
        heard_before = self.reader.bytes_received
        sent = 0
        while sent == 0 or time.monotonic() < end:
            self.retries += sent > 0
            # A zero first: it ends whatever damage left half a frame in the board's buffer.
            self.port.write(b"\0" + wire if sent else wire)
            started = time.monotonic()
            reply = self._await(kind | REPLY, sequence, min(end, started + first_wait_s * 2 ** min(sent, 2)))
            sent += 1
            if reply is not None:
                if sent == 1:
                    pace.learn(time.monotonic() - started)
                if sent > 1 and sequence == 0:
                    self.drain()  # identify has no sequence: a second reply must not answer the next one
                return reply
        found, advice = self._explain(heard_before)
        raise NoReplyError(
            f"no reply to {name or f'request 0x{kind:02x}'} in {patience_s:g} s, {sent} tries: {found}",
            at=self.port.url,
            try_=advice,
        )

    def post(self, kind: int, payload: bytes = b"") -> None:
        """Send a request that has no reply, once."""
        self.port.write(encode_frame(Frame(kind, self._next_sequence(), payload)))

    def _next_sequence(self) -> int:
        sequence = self._sequence
        self._sequence = sequence % 255 + 1
        return sequence

    def drain(self, quiet_s: float = _DRAIN_S, at_most_s: float = 1.0) -> None:
        """Throw away what is on its way, until nothing has come for `quiet_s`."""
        end = time.monotonic() + at_most_s
        while time.monotonic() < end and (data := self.port.read(quiet_s)):
            self.reader.feed(data)

    def _explain(self, heard_before: int) -> tuple[str, str]:
        """(what came instead of a reply, what to try); bytes up to `heard_before` came before the request."""
        reader = self.reader
        noise = reader.snapshot_noise()
        garbled = not noise or count_binary(noise) > len(noise) // 8  # nothing but zeros is a line held low
        if holders := self.port.find_holders():
            advice = f"close {holders}, which has the same port open"
        elif reader.bytes_received == 0 and self.port.url.startswith("socket://"):
            advice = "is another program connected to it? an emulator's port serves one at a time"
        else:
            advice = ""
        if reader.bytes_received == 0:
            found = "the board is silent, not one byte came"
            return found, advice or "reset the board, check the port; is the build on it? mmoe-embed flash BUILD"
        if reader.frames and reader.bytes_received == heard_before:
            found = "it answered before and is silent now"
            return found, advice or "it hangs, or its emulator is stopped: reset it and run the same command again"
        if reader.frames and not noise:
            found = "frames came, but none of them is the reply"
            return found, advice or "does the line send back what it gets? check that RX and TX are not connected"
        if garbled:
            found = f"{reader.bytes_received} B came, {reader.damaged} stretches damaged: noise or a wrong baud rate"
            return found, advice or f"check the baud rate (now {self.port.baud}, --baud) and the cable"
        text = noise.decode("ascii", "replace").strip().splitlines() or [""]
        found = f"text came but no frames, the last line is {text[-1][:60]!r}"
        return found, advice or "is mmoe-embed's firmware on the board? mmoe-embed flash BUILD"

    def _await(self, kind: int, sequence: int, end: float) -> bytes | None:
        """The reply, or None when it has not come, or has come damaged and the line is quiet again."""
        damaged = self.reader.damaged
        while (left := end - time.monotonic()) > 0:
            spoilt = self.reader.damaged > damaged
            data = self.port.read(min(left, self.least_wait_s) if spoilt else left)
            if not data and spoilt:
                return None
            for frame in self.reader.feed(data):
                if frame.type == kind and frame.sequence == sequence:
                    return frame.payload
        return None
