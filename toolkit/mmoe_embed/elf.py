"""What the linked image says of itself: sizes by section, symbols that must not be there, the bound on its stack."""

import dataclasses
import re
from collections.abc import Iterable
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


def bound_stack(call_graphs: Iterable[Path], entry: str, indirect: dict[str, tuple[str, ...]]) -> int:
    """Largest stack use from `entry`, from GCC's -fcallgraph-info=su files.

    Args:
        call_graphs: the .ci files of every object.
        entry: the function that starts on an empty stack.
        indirect: callees behind function pointers, by caller.

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
            own[title] = int(size)
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
