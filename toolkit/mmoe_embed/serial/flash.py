"""The expert storage of a running board, read and written over serial (SPEC.md 8.1)."""

import struct
from collections.abc import Callable

from mmoe_embed.serial.client import BoardClient

_READ, _ERASE, _PROGRAM, _CRC, _SWITCH = range(0x18, 0x1D)
_PIECE_BYTES = 1024  # of one request
_UNIT_BYTES = 32  # no flash that can be written has a larger smallest write
_ERASE_S_PER_KIB = 0.2  # of a slow NOR flash: 400 ms for a sector of 4 KiB, doubled


class Flash:
    """Offsets and lengths are bytes of the expert image; every write has whole units and leaves 0xFF as it is."""

    def __init__(self, client: BoardClient, on_bytes: Callable[[int], None] = lambda count: None) -> None:
        """on_bytes: told how many bytes have been dealt with, as they are."""
        self.client = client
        self._on_bytes = on_bytes

    def read(self, offset: int, length: int) -> bytes:
        """Bytes as they are on the board."""
        data = b""
        while len(data) < length:
            count = min(_PIECE_BYTES, length - len(data))
            request = struct.pack("<IH", offset + len(data), count)
            data += self.client.ask("flash read", _READ, request, reply_bytes=count)
        return data

    def crc(self, offset: int, length: int) -> int:
        """CRC-32 of bytes as they are on the board, computed there."""
        reply = self.client.ask("flash CRC", _CRC, struct.pack("<II", offset, length), patience_s=10 + length / 1e4)
        return int(struct.unpack("<I", reply)[0])

    def erase(self, offset: int, length: int, *, anything: bool = False) -> None:
        """Erase whole sectors.

        Args:
            anything: also what the model needs; it answers no more until the image is opened again.
        """
        request = struct.pack("<IIB", offset, length, anything)
        self.client.ask("flash erase", _ERASE, request, patience_s=10 + length / 1024 * _ERASE_S_PER_KIB)

    def write(self, offset: int, data: bytes) -> None:
        """Program bytes that are erased."""
        data += b"\xff" * (-len(data) % _UNIT_BYTES)
        for at in range(0, len(data), _PIECE_BYTES):
            piece = data[at : at + _PIECE_BYTES]
            if piece.strip(b"\xff"):
                self.client.ask("flash program", _PROGRAM, struct.pack("<I", offset + at) + piece)
            self._on_bytes(len(piece))

    def switch(self, sequence: int, crc: int) -> None:
        """Make the table with that sequence number and CRC-32 the one in use."""
        self.client.ask("switch", _SWITCH, struct.pack("<II", sequence, crc), patience_s=60)
        self.client.identity = None

    def reopen(self) -> None:
        """Have the board look at its image again, as at its start."""
        self.client.ask("open", _SWITCH, patience_s=60)
        self.client.identity = None
