"""Does a linked image lie inside the memories of its board, and inside their budgets?"""

from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from mmoe_embed.board import Board, Memory
from mmoe_embed.errors import FitError, ToolkitError


def check_image_fits(board: Board, elf: Path) -> dict[str, int]:
    """Compare every loaded segment with the board's memories.

    Returns:
        bytes of the image by memory name, from the memory's base to the end of the last segment in it.

    Raises:
        FitError: a segment lies outside every memory, or goes over the end or the budget of one.
        ToolkitError: no ELF file.
    """
    used: dict[str, int] = {}
    try:
        with elf.open("rb") as stream:
            segments = [s.header for s in ELFFile(stream).iter_segments() if s["p_type"] == "PT_LOAD"]
    except ELFError as error:
        raise ToolkitError(f"not an ELF file: {error}", at=str(elf), try_="build again") from None
    for segment in segments:
        spans = [(segment["p_vaddr"], segment["p_memsz"]), (segment["p_paddr"], segment["p_filesz"])]
        for start, size in spans:
            if size == 0:
                continue
            memory, offset = _find_memory(board, start, elf)
            over = offset + size - memory.usable_bytes
            if over > 0:
                raise FitError(
                    f"the image does not fit {board.name}: memory {memory.name} needs {offset + size} B, "
                    f"has {memory.usable_bytes} B ({over} B over)",
                    at=f"{elf}, segment at 0x{start:08x} of {size} B",
                    try_="mmoe-embed plan, with fewer --expert-slots",
                )
            used[memory.name] = max(used.get(memory.name, 0), offset + size)
    return used


def _find_memory(board: Board, address: int, elf: Path) -> tuple[Memory, int]:
    for memory in board.memory:
        for base in (memory.base, *memory.alias):
            if base <= address < base + memory.size:
                return memory, address - base
    names = ", ".join(f"{m.name} 0x{m.base:08x}..0x{m.base + m.size - 1:08x}" for m in board.memory)
    raise FitError(
        f"the image does not fit {board.name}: it has bytes at 0x{address:08x}, where no memory is",
        at=str(elf),
        try_=f"the board has {names}",
    )
