"""What the linked image says of itself: sizes by section, and symbols that must not be there."""

import dataclasses
import re
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from mmoe_embed.errors import ToolchainError

# sections whose size the plan fixes, so that they do not count as the runtime's own data
_PLANNED = (".mmoe_arena", ".mmoe_kv", ".mmoe_slots", ".mmoe_dense", ".mmoe_experts", ".stack", ".mmoe_stack")
# a heap, standard I/O or the maths library in an image breaks the contract of SPEC.md 7
_FORBIDDEN = re.compile(
    r"^_?(malloc|calloc|realloc|free|_sbrk|sbrk|printf|puts|sprintf|snprintf|exit|abort|expf?|logf?|sinf?|cosf?|"
    r"powf?|sqrtf?|_(malloc|free|calloc|realloc)_r)$"
)
_SHF_WRITE, _SHF_ALLOC, _SHF_EXECINSTR = 1, 2, 4


@dataclasses.dataclass(frozen=True)
class ImageSizes:
    """Bytes of an image outside what the plan itself fixes."""

    text: int  # code and read-only data, with the initial values of .data
    data: int  # .data and .bss


def read_sizes(elf: Path) -> ImageSizes:
    """Sizes of the runtime in a linked image."""
    text = data = 0
    with elf.open("rb") as stream:
        for section in ELFFile(stream).iter_sections():
            flags, size = section["sh_flags"], section["sh_size"]
            if not flags & _SHF_ALLOC or section.name.startswith(_PLANNED):
                continue
            if flags & _SHF_WRITE:
                data += size
                if section["sh_type"] != "SHT_NOBITS":
                    text += size  # its initial values lie in flash
            else:
                text += size
    return ImageSizes(text, data)


def check_symbols(elf: Path) -> None:
    """Refuse an image that holds a heap, standard I/O or maths library functions.

    Raises:
        ToolchainError: it does; the symbols are named.
    """
    with elf.open("rb") as stream:
        names = {
            symbol.name
            for section in ELFFile(stream).iter_sections()
            if isinstance(section, SymbolTableSection)
            for symbol in section.iter_symbols()
        }
    if found := sorted(name for name in names if _FORBIDDEN.match(name)):
        raise ToolchainError(
            f"the image holds {', '.join(found)}: a device image has no heap, no stdio and no libm",
            at=str(elf),
            try_="this is a bug of mmoe-embed or of a changed source under firmware/",
        )
