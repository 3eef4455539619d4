"""A bound on the stack of a Thumb image, read from its instructions: for every compiler, and for assembly too.

In every function all pushes are added up, taken or not, so that a frame is never too small; a function of ours that
pushes in a loop reserves once beforehand, and gives back, what the turns after the first take. Encodings: Armv7-M
Architecture Reference Manual (DDI 0403E), chapter A7.
"""

import dataclasses
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from mmoe_embed.errors import ToolchainError

_SHF_EXECINSTR = 4
_REALIGNED = 16  # `mov sp, Rm` may have rounded the stack pointer down to the largest alignment of a type


@dataclasses.dataclass(eq=False)
class Function:
    """One function of an image.

    Attributes:
        frame_bytes: everything it pushes or reserves.
        targets: addresses it calls, or leaves to.
        through_pointer: whether it calls what a register holds.
        dynamic: whether it reserves what a register holds.
    """

    name: str
    start: int
    end: int
    frame_bytes: int = 0
    targets: set[int] = dataclasses.field(default_factory=set)
    through_pointer: bool = False
    dynamic: bool = False


def bound_stack(elf: Path, entry: str, indirect: Mapping[str, tuple[str, ...]], leaves: str | None = None) -> int:
    """Largest stack use from `entry`, without interrupts.

    Args:
        elf: a linked Thumb image with symbols.
        entry: the function that starts on an empty stack.
        indirect: callees behind function pointers, by caller.
        leaves: begin of the names of functions that are another's: their frames count, what they call does not.

    Returns:
        bytes.

    Raises:
        ToolchainError: there is no bound: recursion, a frame of variable size, a call through a pointer that is not
            listed, or of an address where no function is known.
    """
    functions = read_functions(elf)
    starts = sorted(functions)
    by_name: dict[str, list[Function]] = {}  # two files may have a static function of one name
    for function in functions.values():
        by_name.setdefault(function.name, []).append(function)
    depth: dict[int, int] = {}

    def find(target: int, caller: Function) -> Function:
        """The function at an address, or around it."""
        index = bisect_right(starts, target) - 1
        if index < 0 or target >= functions[starts[index]].end:
            raise ToolchainError(
                f"{caller.name} calls 0x{target:08x}, where no function is known",
                at=str(elf),
                try_="give it a type and a size where it is assembly: .type NAME, %function and .size",
            )
        return functions[starts[index]]

    def visit(function: Function, path: tuple[Function, ...]) -> int:
        if function in path:
            raise ToolchainError(f"recursion: {' -> '.join(f.name for f in (*path, function))}", at=str(elf))
        if function.dynamic:
            raise ToolchainError(f"the stack use of {function.name} is not bounded", at=str(elf))
        if leaves and function.name.startswith(leaves):
            return function.frame_bytes
        if function.through_pointer and function.name not in indirect:
            raise ToolchainError(f"{function.name} calls through a pointer, its callees are not known", at=str(elf))
        if function.start not in depth:
            callees = [find(target, function) for target in sorted(function.targets)]
            callees += [callee for name in indirect.get(function.name, ()) for callee in by_name.get(name, ())]
            deepest = max((visit(callee, (*path, function)) for callee in callees), default=0)
            depth[function.start] = function.frame_bytes + deepest
        return depth[function.start]

    return max(visit(function, ()) for function in by_name[entry])


def read_functions(elf: Path) -> dict[int, Function]:
    """Every function of a Thumb image, by its address."""
    functions: dict[int, Function] = {}
    with elf.open("rb") as stream:
        image = ELFFile(stream)
        sections = list(image.iter_sections())
        tables = [section for section in sections if isinstance(section, SymbolTableSection)]
        symbols = [symbol for table in tables for symbol in table.iter_symbols()]
        code = {index: section for index, section in enumerate(sections) if section["sh_flags"] & _SHF_EXECINSTR}
        # mapping symbols say where instructions and where literals begin (ELF for the Arm Architecture, 5.5.5)
        mapping = [s for s in symbols if s.name[:2] in ("$t", "$d") and s["st_shndx"] in code]
        marks = sorted((s["st_value"], s.name[1]) for s in mapping)
        starts = [address for address, _ in marks]
        for symbol in symbols:
            start = symbol["st_value"] & ~1
            if symbol["st_info"]["type"] != "STT_FUNC" or symbol["st_shndx"] not in code or start in functions:
                continue
            section = code[symbol["st_shndx"]]
            words = _Words(section["sh_addr"], section.data())
            function = Function(symbol.name, start, start + symbol["st_size"])
            inner = [start, *starts[bisect_right(starts, start) : bisect_left(starts, function.end)], function.end]
            for begin, end in pairwise(inner):
                if marks[bisect_right(starts, begin) - 1][1] == "t":
                    _decode(function, words, begin, end)
            functions[start] = function
    return functions


@dataclasses.dataclass(frozen=True)
class _Words:
    """A section's content, by address."""

    address: int
    content: bytes

    def read(self, address: int, size_bytes: int) -> int:
        """Little-endian, unsigned."""
        offset = address - self.address
        return int.from_bytes(self.content[offset : offset + size_bytes], "little")


def _decode(function: Function, words: _Words, address: int, end: int) -> None:
    halves = [words.read(at, 2) for at in range(address, end - 1, 2)]
    at = 0
    while at < len(halves):
        first = halves[at]
        if first >> 11 in (0b11101, 0b11110, 0b11111) and at + 1 < len(halves):
            _decode_wide(function, first, halves[at + 1], address + 2 * at + 4)
            if first | 0x80 == 0xF8DF and halves[at + 1] >> 12 == 0xF:  # ldr.w pc, [pc, #imm]: a linker's veneer
                offset = halves[at + 1] & 0xFFF
                literal = (address + 2 * at + 4 & ~3) + (offset if first & 0x80 else -offset)
                _add_branch(function, words.read(literal, 4) & ~1)
            at += 2
        else:
            _decode_narrow(function, first, address + 2 * at + 4)
            at += 1


def _decode_narrow(function: Function, half: int, pc: int) -> None:
    if half & 0xFE00 == 0xB400:  # push {registers}
        function.frame_bytes += 4 * (half & 0x1FF).bit_count()
    elif half & 0xFF80 == 0xB080:  # sub sp, #imm
        function.frame_bytes += 4 * (half & 0x7F)
    elif half & 0xFF87 == 0x4685:  # mov sp, Rm
        function.frame_bytes += _REALIGNED
    elif half & 0xFF87 == 0x4485:  # add sp, Rm
        function.dynamic = True
    elif half & 0xFF00 == 0x4700 and half != 0x4770:  # bx, blx Rm; not bx lr
        function.through_pointer = True
    elif half & 0xF800 == 0xE000:  # b
        _add_branch(function, pc + _signed(half & 0x7FF, 11) * 2)


def _decode_wide(function: Function, first: int, second: int, pc: int) -> None:
    reserved = _reserved_bytes(first, second)
    function.frame_bytes += reserved
    if first & 0xFFEF == 0xEBAD and second & 0x0F00 == 0x0D00:  # sub.w sp, sp, Rm
        function.dynamic = True
    elif first & 0xF800 == 0xF000 and second & 0x9000 == 0x9000:  # bl, b.w
        sign, j1, j2 = first >> 10 & 1, second >> 13 & 1, second >> 11 & 1
        i1, i2 = 1 - (j1 ^ sign), 1 - (j2 ^ sign)
        offset = sign << 23 | i1 << 22 | i2 << 21 | (first & 0x3FF) << 11 | second & 0x7FF
        target = pc + _signed(offset, 24) * 2
        if second & 0x4000:
            function.targets.add(target)
        else:
            _add_branch(function, target)
    elif first & 0xF800 == 0xF000 and second & 0xD000 == 0x8000 and first >> 6 & 0xE != 0xE:  # b<condition>.w
        offset = (first >> 10 & 1) << 19 | (second >> 11 & 1) << 18 | (second >> 13 & 1) << 17
        _add_branch(function, pc + _signed(offset | (first & 0x3F) << 11 | second & 0x7FF, 20) * 2)


def _add_branch(function: Function, target: int) -> None:
    if not function.start <= target < function.end:  # it leaves the function: a call in the last place
        function.targets.add(target)


def _reserved_bytes(first: int, second: int) -> int:
    """What a 32-bit instruction takes off the stack pointer."""
    readers: dict[int, Callable[[], int]] = {
        0xE92D: lambda: 4 * second.bit_count(),  # push.w, stmdb sp!
        0xE96D: lambda: 4 * (second & 0xFF),  # strd [sp, #-imm]!
        0xED2D: lambda: 4 * (second & 0xFF),  # vpush
        0xED6D: lambda: 4 * (second & 0xFF),  # vpush from an odd single register
    }
    if first in readers:
        return readers[first]()
    if first == 0xF84D and second & 0x0F00 == 0x0D00:  # str [sp, #-imm]!
        return second & 0xFF
    low = (first >> 10 & 1) << 11 | (second >> 12 & 7) << 8 | second & 0xFF
    if first & 0xFBEF == 0xF1AD and second & 0x8F00 == 0x0D00:  # sub.w sp, sp, #constant
        return _expand(low)
    if first & 0xFBFF == 0xF2AD and second & 0x8F00 == 0x0D00:  # subw sp, sp, #imm12
        return low
    return 0


def _expand(imm12: int) -> int:
    """ThumbExpandImm of the manual, A5.3.2."""
    value = imm12 & 0xFF
    if imm12 >> 10:
        rotation, value = imm12 >> 7, 0x80 | imm12 & 0x7F
        return value >> rotation | value << (32 - rotation) & 0xFFFFFFFF
    return (value, value << 16 | value, value << 24 | value << 8, value * 0x01010101)[imm12 >> 8]


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value
