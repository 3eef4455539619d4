"""ELF files without a linker."""

import dataclasses
from pathlib import Path


@dataclasses.dataclass
class Segment:
    vaddr: int
    memsz: int
    paddr: int
    filesz: int


def write_elf(file: Path, segments: list[Segment]) -> Path:
    """A 32-bit Arm ELF with program headers; the bytes of its segments, one after the other, follow them."""
    header = bytes.fromhex("7f454c46 010101 00") + bytes(8)

    def words(*values: int) -> bytes:
        return b"".join(value.to_bytes(4, "little") for value in values)

    def halves(*values: int) -> bytes:
        return b"".join(value.to_bytes(2, "little") for value in values)

    header += halves(2, 40) + words(1, 0, 52, 0, 0x05000000) + halves(52, 32, len(segments), 40, 0, 0)
    offset = 52 + 32 * len(segments)
    for s in segments:
        header += words(1, offset, s.vaddr, s.paddr, s.filesz, s.memsz, 7, 4)
        offset += s.filesz
    file.write_bytes(header + b"".join(bytes(i % 256 for i in range(s.filesz)) for s in segments))
    return file
