"""Frames of SPEC.md 8.1: `0x00 COBS(body) 0x00`, body = type, sequence, payload, CRC-32."""

import dataclasses
import struct
import zlib

from cobs import cobs  # type: ignore[import-untyped]

MAX_BODY_BYTES = 1040
MAX_PAYLOAD_BYTES = MAX_BODY_BYTES - 6
REPLY = 0x80
_MAX_ENCODED_BYTES = MAX_BODY_BYTES + MAX_BODY_BYTES // 254 + 1


@dataclasses.dataclass(frozen=True)
class Frame:
    """One message of either side."""

    type: int
    sequence: int
    payload: bytes


def encode_frame(frame: Frame) -> bytes:
    """The bytes on the wire, with both zeros."""
    if len(frame.payload) > MAX_PAYLOAD_BYTES:
        raise ValueError(f"payload of {len(frame.payload)} B, a frame holds {MAX_PAYLOAD_BYTES} B")
    head = bytes((frame.type, frame.sequence)) + frame.payload
    return b"\0" + bytes(cobs.encode(head + struct.pack("<I", zlib.crc32(head)))) + b"\0"


def decode_frame(encoded: bytes) -> Frame | None:
    """What lies between two zeros; None when it is no intact frame."""
    if len(encoded) > _MAX_ENCODED_BYTES:
        return None
    try:
        body = cobs.decode(encoded)
    except cobs.DecodeError:
        return None
    if not 6 <= len(body) <= MAX_BODY_BYTES:
        return None
    head, crc = body[:-4], struct.unpack("<I", body[-4:])[0]
    return Frame(head[0], head[1], head[2:]) if zlib.crc32(head) == crc else None


class FrameReader:
    """Cuts a byte stream into frames; what is not a frame is counted and its end kept for diagnosis."""

    def __init__(self) -> None:
        self.bytes_received = 0
        self.frames = 0
        self.damaged = 0  # stretches between zeros that were no intact frame
        self.binary_bytes = 0  # of those stretches: bytes that no text has
        self.noise = b""  # the last bytes that belonged to no frame
        self._pending = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """Take received bytes, return the frames they complete."""
        self.bytes_received += len(data)
        frames = []
        *complete, rest = data.split(b"\0")
        for part in complete:
            self._pending += part
            stretch, self._pending = bytes(self._pending), bytearray()
            if not stretch:
                continue
            frame = decode_frame(stretch)
            if frame:
                frames.append(frame)
                self.frames += 1
            else:
                self._note(stretch)
        self._pending += rest
        if len(self._pending) > 4 * MAX_BODY_BYTES:  # babble: never a frame, never kept whole
            self._note(bytes(self._pending[:MAX_BODY_BYTES]))
            del self._pending[: -2 * MAX_BODY_BYTES]
        return frames

    def snapshot_noise(self) -> bytes:
        """The last bytes outside frames, with those still waiting for a zero."""
        return (self.noise + bytes(self._pending))[-400:]

    def _note(self, stretch: bytes) -> None:
        self.damaged += 1
        self.binary_bytes += count_binary(stretch)
        self.noise = (self.noise + stretch)[-400:]


def count_binary(data: bytes) -> int:
    """Bytes that text from a board does not hold."""
    return sum(byte >= 0x7F or (byte < 0x20 and byte not in b"\r\n\t") for byte in data)
