"""What the linked image says of itself: sizes by section, symbols that must not be there, the bound on its stack."""

import dataclasses
import re
from collections.abc import Iterable, Mapping
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


def count_pushes(elf: Path) -> dict[str, int]:
    """Bytes that each function of a Thumb image pushes, read from its instructions.

    GCC counts 0 bytes for a function that is written whole in assembly. Every push in the body is added up, taken or
    not: no such function pushes in a loop. Encodings: Armv7-M Architecture Reference Manual (DDI 0403E) A7.7, PUSH T1
    and T2, VPUSH, STR (immediate) T4 with the stack pointer, SUB (SP minus immediate) T1.
    """
    pushed: dict[str, int] = {}
    with elf.open("rb") as stream:
        image = ELFFile(stream)
        for section in image.iter_sections():
            if not isinstance(section, SymbolTableSection):
                continue
            for symbol in section.iter_symbols():
                if symbol["st_info"]["type"] != "STT_FUNC" or not isinstance(symbol["st_shndx"], int):
                    continue
                home = image.get_section(symbol["st_shndx"])
                start = (symbol["st_value"] & ~1) - home["sh_addr"]
                code = home.data()[start : start + symbol["st_size"]]
                pushed[symbol.name] = max(pushed.get(symbol.name, 0), _pushed_bytes(code))
    return pushed


def _pushed_bytes(code: bytes) -> int:
    halves = [int.from_bytes(code[i : i + 2], "little") for i in range(0, len(code) - 1, 2)] + [0]
    total = at = 0
    while at < len(halves) - 1:
        first, second = halves[at], halves[at + 1]
        wide = first >> 11 in (0b11101, 0b11110, 0b11111)
        if first & 0xFE00 == 0xB400:
            total += 4 * (first & 0x1FF).bit_count()
        elif first & 0xFF80 == 0xB080:
            total += 4 * (first & 0x7F)
        elif first == 0xE92D:
            total += 4 * second.bit_count()
        elif first & 0xFFBF == 0xED2D:
            total += 4 * (second & 0xFF)
        elif first == 0xF84D and second & 0x0FFF == 0x0D04:
            total += 4
        at += 2 if wide else 1
    return total


def bound_stack(
    call_graphs: Iterable[Path], entry: str, indirect: dict[str, tuple[str, ...]], pushed: Mapping[str, int]
) -> int:
    """Largest stack use from `entry`, from GCC's -fcallgraph-info=su files.

    Args:
        call_graphs: the .ci files of every object.
        entry: the function that starts on an empty stack.
        indirect: callees behind function pointers, by caller.
        pushed: what functions push by their instructions; counts where the call graph says 0.

    Returns:
        bytes, without interrupts.

    Raises:
        ToolchainError: a function has no bound (recursion, variable-length arrays).
    """
    own: dict[str, int] = {}
    calls: dict[str, set[str]] = {}
    for file in call_graphs:
        text = file.read_text()
        for title, size, kind in re.findall(
            r'node: \{ title: "([^"]+)" label: "[^"]*?(\d+) bytes \((static|dynamic[^)]*)\)', text
        ):
            if kind != "static" and "bounded" not in kind:
                raise ToolchainError(f"the stack use of {title} is not bounded", at=str(file))
            own[title] = int(size) or pushed.get(title.rpartition(":")[2], 0)
        for source, target in re.findall(r'edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"', text):
            calls.setdefault(source, set()).add(target)
    by_short: dict[str, list[str]] = {}  # static functions are "file.c:name", and two files may have one of a name
    for title in own:
        by_short.setdefault(title.rpartition(":")[2], []).append(title)

    def titles(name: str) -> list[str]:
        return by_short.get(name, [name])

    for caller, callees in indirect.items():
        for title in titles(caller):
            calls.setdefault(title, set()).update(t for callee in callees for t in titles(callee))
    depth: dict[str, int] = {}

    def visit(name: str, path: tuple[str, ...]) -> int:
        if name in path:
            raise ToolchainError(f"recursion: {' -> '.join((*path, name))}")
        if name not in depth:
            deepest = max((visit(callee, (*path, name)) for callee in calls.get(name, ())), default=0)
            depth[name] = own.get(name, 0) + deepest
        return depth[name]

    return max(visit(title, ()) for title in titles(entry))
