"""A board file drawn from a CMSIS-Pack, what a person must add to it, and where a board file and a pack disagree."""

import dataclasses
import json
import re

from mmoe_embed.board import Board, Cpu, Fpu, Isa, Memory
from mmoe_embed.packs import PackDevice, PackMemory

_FILL_IN = (
    "[console]: driver, base, rx_irq, pclk_hz of a UART (reference manual); [[boot_writes]] for its clock and pins",
    "[clock]: what SysTick counts after reset (reference manual); the pack has the highest clock, not that",
    "[runner]: how a build reaches the board, for example [runner.pyocd] or [runner.openocd]",
    "`dma` of every memory: which of them a DMA engine reaches",
    "external memories, wait states and bandwidths: no pack has them",
)
_COUPLED = re.compile(r"[ID]TCM|CCM", re.IGNORECASE)  # in a memory's name


@dataclasses.dataclass(frozen=True)
class Draft:
    """A board file that still has gaps, and the gaps in words."""

    text: str
    fill_in: tuple[str, ...]


def core_name(core: str) -> str | None:
    """Dcore as compilers name it, `Cortex-M0+` is cortex-m0plus; None for what is no core's name (ARMV81MML)."""
    found = re.fullmatch(r"(Cortex-[MAR]\d+[PF]?|Star-MC\d+)(\+?)", core, re.IGNORECASE)
    return found[1].lower() + ("plus" if found[2] else "") if found else None


def isa_of(device: PackDevice) -> tuple[list[Isa], str]:
    """(extensions, what is not sure). Ddsp and Dmve are attributes; a Cortex-M4 and M7 always have DSP."""
    core = core_name(device.core)
    always_dsp = ("cortex-m4", "cortex-m7", "cortex-m52", "cortex-m55", "cortex-m85")
    always_lob = ("cortex-m52", "cortex-m55", "cortex-m85")
    isa: list[Isa] = []
    doubt = ""
    if device.dsp == "DSP" or core in always_dsp:
        isa.append("dsp")
    elif device.dsp is None and core in ("cortex-m33", "cortex-m35p", "star-mc1"):
        doubt = f"isa: the pack does not say whether this {device.core} has DSP instructions"
    if device.mve in ("MVE", "FP_MVE"):
        isa.append("mve")
        if device.mve == "FP_MVE":
            isa.append("mve-fp")
    elif device.mve is None and core in always_lob:
        doubt = f"isa: the pack does not say whether this {device.core} has Helium (MVE)"
    if core in always_lob:
        isa.append("lob")
    return isa, doubt


def fpu_of(device: PackDevice) -> tuple[Fpu | None, str]:
    """(FPU, what is not sure) by Dfpu and the core's architecture."""
    core, value = core_name(device.core), (device.fpu or "").upper()
    if core is None:
        return None, f"fpu: {device.core!r} is no core whose FPU we know"
    if core in ("cortex-m0", "cortex-m0plus", "cortex-m1", "cortex-m3", "cortex-m23"):
        return "none", ""
    if not value:
        return None, "fpu: the pack does not say whether there is one"
    if value in ("NO_FPU", "0"):
        return "none", ""
    if core == "cortex-m4":
        return "fpv4-sp-d16", ""
    if core in ("cortex-m52", "cortex-m55", "cortex-m85") or value == "DP_FPU":
        return "fpv5-d16", ""
    doubt = "" if value == "SP_FPU" or core != "cortex-m7" else "fpu: the pack says FPU, not of which precision"
    return "fpv5-sp-d16", doubt


def draft_board(device: PackDevice, name: str, source: str) -> Draft:
    """A board file with everything the pack knows.

    Args:
        device: read from the pack.
        name: of the board, and so of its file.
        source: the pack's file name, for `source`.
    """
    fill_in = [*_FILL_IN, _explain_uses(device)]
    isa, isa_doubt = isa_of(device)
    fpu, fpu_doubt = fpu_of(device)
    core = core_name(device.core)
    if core is None:
        fill_in.insert(0, f"core: the pack says {device.core!r}")
    fill_in += [doubt for doubt in (isa_doubt, fpu_doubt) if doubt]
    if device.clock_hz is None:
        fill_in.append("clock_hz: the pack has none")
    if not device.flashes:
        fill_in.append("[memory.flash]: page and sector sizes, which only the .FLM has")
    lines = [
        "schema = 1",
        f"name = {_text(name)}",
        f"title = {_text(device.name)}",
        f"vendor = {_text(device.vendor)}",
        'kind = "hardware"',
        f"sources = [{_text(f'{source}: {device.pack}, device {device.name}')}]",
        f"notes = {_text('Drawn from a pack; never run on hardware.')}",
        "",
        "[soc]",
        f"name = {_text(device.name.lower())}",
        _line("clock_hz", device.clock_hz),
        "",
        "[[cpu]]",
        'name = "cpu0"',
        _line("core", None if core is None else _text(core)),
        _line("clock_hz", device.clock_hz),
        _line("fpu", None if fpu is None else _text(fpu)),
        f"isa = {json.dumps(isa)}",
    ]
    for memory in device.memories:
        lines += ["", *_draft_memory(memory, device, source)]
    lines += ["", *(f"# fill in: {gap}" for gap in fill_in)]
    return Draft("\n".join(lines) + "\n", tuple(fill_in))


def _draft_memory(memory: PackMemory, device: PackDevice, source: str) -> list[str]:
    is_flash = "w" not in memory.access
    access = memory.access if memory.access in ("r", "rx", "rw", "rwx") else "rx" if is_flash else "rw"
    kind = "flash" if is_flash else "tcm" if _COUPLED.search(memory.name) else "sram"
    lines = [
        "[[memory]]",
        f"name = {_text(memory.name.lower())}",
        f'kind = "{kind}"',
        f"base = 0x{memory.start:08x}",
        f"size = 0x{memory.size:08x}",
        f"access = {_text(access)}",
    ]
    if memory.alias:
        lines.append(f"alias = [{', '.join(f'0x{start:08x}' for start in memory.alias)}]")
    uses = _draft_uses(memory, device)
    if is_flash or "text" in uses:
        lines.append("xip = true")
    if uses:
        lines.append(f"use = {json.dumps(uses)}")
    lines.append(f"source = {_text(f'{source}: memory {memory.name}')}")
    flash = next((f for f in device.flashes for s in memory.starts if s <= f.base < s + memory.size), None)
    if is_flash and flash is not None:
        lines += ["", "[memory.flash]", f"page_bytes = {flash.page_bytes}", f"erase_bytes = {flash.erase_bytes}"]
    return lines


def _choose_memories(device: PackDevice) -> tuple[PackMemory | None, PackMemory | None]:
    """(where code goes, where variables go): where the core starts, and the largest RAM that is left."""
    flashes = [m for m in device.memories if "w" not in m.access]
    code = next((m for m in (*flashes, *device.memories) if m.startup), flashes[0] if flashes else None)
    rams = [m for m in device.memories if "w" in m.access and m is not code]
    return code, max(rams, key=lambda m: (m.default, m.size), default=None)


def _draft_uses(memory: PackMemory, device: PackDevice) -> list[str]:
    code, variables = _choose_memories(device)
    if memory is code:
        return ["text", "rodata", "experts"]
    return ["data", "stack", "arena", "kv", "slots"] if memory is variables else []


def _explain_uses(device: PackDevice) -> str:
    code, variables = _choose_memories(device)
    chosen = ", ".join(
        f"{what} into {m.name.lower()} ({m.size} B)" for what, m in (("code", code), ("variables", variables)) if m
    )
    off = [m.name.lower() for m in device.memories if not m.default]
    doubt = f"; not default in the pack, perhaps off after reset: {', '.join(off)}" if off else ""
    return f"`use` of every memory: the draft puts {chosen or 'nothing anywhere'}{doubt}"


def _line(key: str, value: object) -> str:
    return f"# {key} = ? not in the pack" if value is None else f"{key} = {value}"


def _text(text: str) -> str:
    # TOML's basic strings take what JSON's do; DEL is the one character that only JSON allows
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def compare_board(board: Board, device: PackDevice) -> list[str]:
    """Where a board file and a pack say different things; each line names both."""
    core = board.core
    lines: list[str] = []

    def differ(what: str, ours: object, theirs: object) -> None:
        if ours != theirs:
            lines.append(f"{what}: the board file says {ours}, the pack {theirs}")

    differ("core", core.core, core_name(device.core) or device.core)
    lines += _compare_cpu(core, device)
    if device.clock_hz is not None:
        differ("clock_hz", core.clock_hz or board.soc.clock_hz, device.clock_hz)
    missing = []
    for theirs in device.memories:
        views = [(start, found) for start in theirs.starts if (found := _find_overlapping(board, start, theirs.size))]
        if views:
            lines += _compare_memory(theirs, *views[0])
        else:
            missing.append(f"{theirs.name} at 0x{theirs.start:08x} of {theirs.size} B")
    if missing:
        lines.append(f"memories that the pack has and the board file does not: {'; '.join(missing)}")
    for memory in board.memory:
        internal = memory.kind in ("tcm", "sram", "flash")
        if internal and not any(_overlaps(base, memory.size, m) for base in _bases(memory) for m in device.memories):
            lines.append(f"memory {memory.name} at 0x{memory.base:08x} of {memory.size} B: the pack has none there")
    for flash in device.flashes:
        lines += _compare_flash(board, flash.name, flash.base, flash.page_bytes, flash.erase_bytes)
    return lines


def _compare_cpu(core: Cpu, device: PackDevice) -> list[str]:
    lines = []
    fpu, doubt = fpu_of(device)
    if fpu is not None and not doubt and fpu != core.fpu:
        lines.append(f"fpu: the board file says {core.fpu}, the pack {fpu} (Dfpu {device.fpu})")
    isa, doubt = isa_of(device)
    if not doubt and set(isa) != set(core.isa):
        lines.append(f"isa: the board file says {sorted(core.isa)}, the pack {sorted(isa)}")
    return lines


def _bases(memory: Memory) -> tuple[int, ...]:
    return (memory.base, *memory.alias)


def _overlaps(base: int, size: int, theirs: PackMemory) -> bool:
    return any(base < start + theirs.size and start < base + size for start in theirs.starts)


def _find_overlapping(board: Board, start: int, size: int) -> list[tuple[Memory, int]]:
    """Memories of the board that lie in a range, and the address by which they do."""
    return [(m, base) for m in board.memory for base in _bases(m) if base < start + size and start < base + m.size]


def _compare_memory(theirs: PackMemory, their_start: int, ours: list[tuple[Memory, int]]) -> list[str]:
    """A pack may cut one memory of ours into several; it must not reach outside, and its begin must be a begin."""
    at = f"memory at 0x{their_start:08x} of {theirs.size} B ({theirs.name})"
    start = min(base for _, base in ours)
    end = max(base + m.size for m, base in ours)
    if start == their_start and end == their_start + theirs.size:
        return []
    if len(ours) == 1 and start <= their_start and their_start + theirs.size <= end:
        return [f"{at}: a part of {ours[0][0].name}, which the board file has as 0x{start:08x} of {end - start} B"]
    names = ", ".join(m.name for m, _ in ours)
    return [f"{at}: the board file has {names}, 0x{start:08x}..0x{end - 1:08x}, {end - start} B"]


def _compare_flash(board: Board, name: str, base: int, page_bytes: int, erase_bytes: int) -> list[str]:
    memory = next((m for m in board.memory if any(b <= base < b + m.size for b in _bases(m))), None)
    if memory is None:
        return [f"flash algorithm {name} is for 0x{base:08x}, where the board file has no memory"]
    known = memory.flash
    lines = []
    if known is None or known.erase_bytes is None:
        lines.append(f"memory {memory.name}: erase_bytes is not in the board file, the pack says {erase_bytes}")
    elif known.erase_bytes != erase_bytes:
        lines.append(
            f"memory {memory.name}: erase_bytes: the board file says {known.erase_bytes}, the pack {erase_bytes}"
        )
    if known is not None and known.page_bytes is not None and known.page_bytes != page_bytes:
        lines.append(f"memory {memory.name}: page_bytes: the board file says {known.page_bytes}, the pack {page_bytes}")
    return lines


def check_board(board: Board) -> list[str]:
    """What a board file on its own gets wrong that its schema cannot see: a console that cannot work, odd sizes."""
    lines = []
    console = board.console
    if board.kind in ("hardware", "emulated") and console.pclk_hz is not None:
        ratio = console.pclk_hz / console.baud
        if ratio < 8:
            lines.append(f"console: {console.baud} baud need a clock of more than {8 * console.baud} Hz")
    for memory in board.memory:
        flash = memory.flash
        if flash is None:
            continue
        for key in ("erase_bytes", "page_bytes", "write_bytes"):
            value = getattr(flash, key)
            if value is not None and (value <= 0 or memory.size % value):
                lines.append(f"memory {memory.name}: its size {memory.size} B is no multiple of {key} {value}")
    for use in ("text", "rodata", "experts", "data", "stack", "arena", "kv", "slots"):
        if not any(use in memory.use for memory in board.memory):
            lines.append(f"no memory has the use {use!r}")
    text = next((m for m in board.memory if "text" in m.use), None)
    if text is not None and board.kind in ("hardware", "emulated"):
        vectors = 4 * (16 + (console.rx_irq or 0) + 1)
        alignment = max(128, 1 << (vectors - 1).bit_length())
        if text.base % alignment:
            lines.append(f"memory {text.name}: a vector table of {vectors} B needs a multiple of {alignment} as base")
    return lines
