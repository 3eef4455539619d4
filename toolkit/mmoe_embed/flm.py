"""Flash algorithms of CMSIS-Packs (.FLM): the page and sector sizes that no pack description has."""

import dataclasses
import io
import struct

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from mmoe_embed.errors import ToolkitError

_HEADER = struct.Struct("<H128sHIIIIB3xII")  # struct FlashDevice of CMSIS-Pack's FlashOS.h
_SECTORS_AT = 160
_SECTORS_END = 0xFFFFFFFF
_MAX_SECTORS = 512  # SECTOR_NUM of FlashOS.h


@dataclasses.dataclass(frozen=True)
class FlashDevice:
    """What an algorithm says of its flash.

    Attributes:
        page_bytes: the largest piece written at once.
        sectors: (size, offset of the first of this size), by offset.
    """

    name: str
    base: int
    size: int
    page_bytes: int
    sectors: tuple[tuple[int, int], ...]

    @property
    def erase_bytes(self) -> int:
        """The largest sector."""
        return max(size for size, _ in self.sectors)


def read_flm(data: bytes, at: str) -> FlashDevice:
    """Read the description in a flash algorithm.

    Args:
        data: the .FLM, an ELF file.
        at: for messages.

    Raises:
        ToolkitError: not an ELF file, no description in it, or one that makes no sense.
    """
    try:
        description = _find_description(data)
    except (ELFError, ValueError, KeyError, IndexError, struct.error) as error:
        raise ToolkitError(f"not a flash algorithm: {error}", at=at) from None
    if description is None:
        raise ToolkitError("a flash algorithm without a FlashDevice description", at=at)
    if len(description) < _SECTORS_AT + 8:
        raise ToolkitError(f"a FlashDevice description of {len(description)} B is too short", at=at)
    _, name, _, base, size, page, _, _, _, _ = _HEADER.unpack_from(description)
    sectors: list[tuple[int, int]] = []
    for offset in range(_SECTORS_AT, len(description) - 7, 8):
        sector_bytes, first = struct.unpack_from("<II", description, offset)
        if sector_bytes == _SECTORS_END or len(sectors) == _MAX_SECTORS:
            break
        # an offset by the format; some algorithms have the address instead
        sectors.append((sector_bytes, first - base if size <= first and base <= first < base + size else first))
    if not sectors or not size or any(not 0 < sector <= size or first >= size for sector, first in sectors):
        raise ToolkitError(
            f"a FlashDevice description that makes no sense: size {size} B, sectors {sectors[:8]}", at=at
        )
    text = name.split(b"\0")[0].decode("latin-1")
    return FlashDevice(text, base, size, page, tuple(sorted(sectors, key=lambda s: s[1])))


def _find_description(data: bytes) -> bytes | None:
    elf = ELFFile(io.BytesIO(data))
    for table in elf.iter_sections():
        if not isinstance(table, SymbolTableSection):
            continue
        for symbol in table.get_symbol_by_name("FlashDevice") or []:
            if isinstance(symbol["st_shndx"], int):
                section = elf.get_section(symbol["st_shndx"])
                start = symbol["st_value"] - section["sh_addr"]
                return bytes(section.data()[start:])
    named = elf.get_section_by_name("DevDscr")  # stripped of its symbols
    return bytes(named.data()) if named is not None else None
