"""Boards: what a board file may say, and how one is loaded (the files are in `boards/`, one TOML a board)."""

import difflib
import re
import tomllib
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from mmoe_embed.errors import ToolkitError, UsageError
from mmoe_embed.resources import boards_dir
from mmoe_embed.text_file import read_text

SCHEMA_VERSION = 1

_T = typing.TypeVar("_T")

Kind = Literal["hardware", "emulated", "phone", "host"]
Isa = Literal["dsp", "mve", "mve-fp", "lob", "neon", "dotprod", "i8mm", "sse2", "sse4.1", "avx2", "avx512-vnni"]
Fpu = Literal["none", "fpv4-sp-d16", "fpv5-sp-d16", "fpv5-d16", "native"]
MemoryKind = Literal["tcm", "sram", "psram", "dram", "flash", "xip_flash", "nor", "storage"]
Use = Literal["text", "rodata", "experts", "data", "stack", "arena", "kv", "slots"]
RAM_USES: tuple[Use, ...] = ("data", "stack", "arena", "kv", "slots")
ConsoleDriver = Literal[
    "cmsdk-uart", "stm32-usart", "stm32-usart-v2", "nrf-uart", "nrf-uarte", "nrf54l-uarte", "pl011", "rp2350-uart",
    "ambiq-uart", "lpuart", "max32-uart", "16550", "zephyr", "host",
]  # fmt: skip
StorageDriver = Literal["mapped", "pl081", "file", "emulated-nor", "zephyr"]
RunnerName = Literal["host", "qemu", "pyocd", "openocd", "jlink", "west", "executorch"]
Pattern = Literal["sequential", "random"]


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A TOML table: every key is known, nothing is changed after loading."""


class Soc(_Table, frozen=True, kw_only=True):
    """The chip, or the model of one."""

    name: str
    clock_hz: int


class Cpu(_Table, frozen=True, kw_only=True):
    """One core; the first of a board runs the model."""

    name: str
    core: str  # as compilers name it: cortex-m55, x86-64, cortex-a53
    clock_hz: int | None = None
    fpu: Fpu
    isa: list[Isa] = []
    icache_bytes: int = 0
    dcache_bytes: int = 0


class Flash(_Table, frozen=True, kw_only=True):
    """How a memory is written; absent keys are not known."""

    write_bytes: int | None = None  # smallest write
    page_bytes: int | None = None
    erase_bytes: int | None = None  # smallest erase; where sectors differ, the largest of the region in use
    modelled_as_rom: bool = False  # an emulator loads it and ignores stores


class ReadRate(_Table, frozen=True, kw_only=True):
    """How fast a memory is read; of a phone's storage one number is not enough, so each says how it was read."""

    bytes_per_s: int
    block_bytes: int | None = None  # of each read; absent in a limit of the interface
    pattern: Pattern | None = None
    source: str


class Memory(_Table, frozen=True, kw_only=True):
    """One contiguous memory; bandwidths are in bytes per cycle of the SoC clock (TVM's names), or a list of rates."""

    name: str
    kind: MemoryKind
    base: int
    size: int
    budget: int | None = None  # how much mmoe-embed may use, from base up; all of it when absent
    access: Literal["r", "rx", "rw", "rwx"]
    alias: list[int] = []
    dma: bool = False
    retained: bool = False  # its content outlives a reset of the processor
    xip: bool = False  # experts can be computed in place
    use: list[Use] = []
    flash: Flash | None = None
    read_bytes_per_cycle: float | None = None
    write_bytes_per_cycle: float | None = None
    read_latency_cycles: int | None = None
    write_latency_cycles: int | None = None
    burst_bytes: int | None = None
    read: list[ReadRate] = []
    source: str

    def read_rate(self, block_bytes: int) -> ReadRate | None:
        """The rate that holds for scattered reads of so many bytes; None where nothing is known.

        The largest block that is not larger, random before sequential; else the limit of the interface.
        """
        known = [rate for rate in self.read if rate.block_bytes is not None and rate.block_bytes <= block_bytes]
        limits = [rate for rate in self.read if rate.block_bytes is None]
        ranked = sorted(known, key=lambda rate: (rate.block_bytes or 0, rate.pattern == "random")) or limits
        return ranked[-1] if ranked else None

    @property
    def usable_bytes(self) -> int:
        """Bytes from `base` up that a build may use."""
        return self.size if self.budget is None else self.budget


class Console(_Table, frozen=True, kw_only=True):
    """The UART that carries the protocol of SPEC.md 8; a host program has a socket instead.

    Driver "zephyr": Zephyr drives it, a board of the devicetree that a Zephyr build made.
    """

    driver: ConsoleDriver
    base: int | None = None
    rx_irq: int | None = None  # number in the NVIC of "a byte came in"
    baud: int = 115200
    pclk_hz: int | None = None
    source: str


class Storage(_Table, frozen=True, kw_only=True):
    """A driver that reads the expert image; `file` reads the file beside the program.

    Where it also writes, `erase_bytes` is the smallest erase and `write_bytes` the smallest write.
    """

    driver: StorageDriver
    base: int | None = None  # of a DMA engine, or of the memory that is taken for a flash
    irq: int | None = None  # its number in the NVIC
    size: int | None = None
    erase_bytes: int | None = None
    write_bytes: int = 1
    qemu_args: list[str] = []  # {file} stands for the file that keeps the flash
    source: str

    @property
    def mapped(self) -> bool:
        """Whether the image also lies in the address space."""
        return self.driver in ("mapped", "pl081")

    @property
    def linked(self) -> bool:
        """Whether the image is a part of the firmware, in the board's memory for experts."""
        return self.driver not in ("file", "emulated-nor")


class Clock(_Table, frozen=True, kw_only=True):
    """What the tick of `mmoe_port_ticks` counts."""

    systick_hz: int
    source: str


class BootWrite(_Table, frozen=True, kw_only=True):
    """One register changed at reset, before the UART starts: (old & ~clear) | set."""

    address: int
    clear: int = 0
    set: int = 0
    source: str


class QemuRunner(_Table, frozen=True, kw_only=True):
    """qemu-system-arm; with `-icount shift=0` an instruction takes 1 ns of its time: ticks count them."""

    machine: str
    args: list[str] = []
    instructions_per_second: int | None = None


class HostRunner(_Table, frozen=True, kw_only=True):
    """A native program; `emulator` is put before it on a machine of another architecture."""

    machine: str  # as `uname -m` says
    emulator: list[str] = []
    args: list[str] = []  # of the program


class PyocdRunner(_Table, frozen=True, kw_only=True):
    """pyOCD with a CMSIS-DAP, ST-Link or J-Link probe."""

    target: str
    pack: str | None = None
    frequency_hz: int | None = None


class OpenocdRunner(_Table, frozen=True, kw_only=True):
    """OpenOCD with its own configuration files."""

    config: list[str]


class JlinkRunner(_Table, frozen=True, kw_only=True):
    """SEGGER's JLinkExe."""

    device: str
    interface: Literal["swd", "jtag"] = "swd"
    speed_khz: int = 4000


class WestRunner(_Table, frozen=True, kw_only=True):
    """west flash, inside a Zephyr workspace."""

    runner: str | None = None


class ExecutorchRunner(_Table, frozen=True, kw_only=True):
    """ExecuTorch's runtime inside an app: a phone runs what `mmoe-embed export` writes."""

    os: Literal["android", "ios"]


class Runner(_Table, frozen=True, kw_only=True):
    """How a build reaches the board; `default` names one of the tables beside it."""

    default: RunnerName
    qemu: QemuRunner | None = None
    host: HostRunner | None = None
    pyocd: PyocdRunner | None = None
    openocd: OpenocdRunner | None = None
    jlink: JlinkRunner | None = None
    west: WestRunner | None = None
    executorch: ExecutorchRunner | None = None


class Board(_Table, frozen=True, kw_only=True):
    """One board file, checked."""

    schema: Literal[1]
    name: str
    title: str
    vendor: str
    kind: Kind
    sources: list[str]
    notes: str = ""
    zephyr_board: str | None = None
    soc: Soc
    cpu: list[Cpu]
    memory: list[Memory]
    console: Console
    clock: Clock
    storage: list[Storage] = []
    boot_writes: list[BootWrite] = []
    runner: Runner

    @property
    def core(self) -> Cpu:
        """The core that runs the model."""
        return self.cpu[0]

    @property
    def storages(self) -> list[Storage]:
        """The storage drivers, the default one first; a board that names none copies from its address space."""
        return self.storage or [Storage(driver="mapped", source="the image is linked into the memory for experts")]

    def is_zephyr_board(self, name: str) -> bool:
        """Whether Zephyr calls this board so; qualifiers may be left out at the end, as for `west build -b`."""
        ours = self.zephyr_board
        return ours is not None and (f"{name}/".startswith(f"{ours}/") or f"{ours}/".startswith(f"{name}/"))

    def memory_for(self, use: Use) -> Memory:
        """The memory that a placement key names.

        Raises:
            ToolkitError: no memory of this board has that use.
        """
        for memory in self.memory:
            if use in memory.use:
                return memory
        raise ToolkitError(
            f"board {self.name} has no memory for {use!r}",
            at=f"{self.name}.toml, [[memory]]",
            try_=f'add "{use}" to the `use` of one of: {", ".join(m.name for m in self.memory)}',
        )


def list_boards() -> list[str]:
    """Names of the boards that come with mmoe-embed, sorted."""
    return sorted(path.stem for path in boards_dir().glob("*.toml"))


def load_board(name_or_path: str | Path) -> Board:
    """Load and check one board file.

    Args:
        name_or_path: the name of a board that comes with mmoe-embed, or the path of a .toml file of your own.

    Raises:
        UsageError: no such board.
        ToolkitError: the file breaks the schema; the message has line, key and what was expected.
    """
    text = str(name_or_path)
    if text.endswith(".toml") or "/" in text:
        path = Path(name_or_path)
        if not path.is_file():
            raise UsageError("there is no such board file", at=text, try_="mmoe-embed boards list")
    else:
        path = boards_dir() / f"{text}.toml"
        if not path.is_file():
            names = list_boards()
            near = difflib.get_close_matches(text, names, n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}? " if near else ""
            raise UsageError(f"unknown board {text!r}", try_=f"{hint}boards are: {', '.join(names)}")
    return parse_board(read_text(path), path)


def parse_board(text: str, path: Path) -> Board:
    """Check the text of a board file; `path` is for messages, and its stem must be the board's name."""
    try:
        raw = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        found = re.search(r"line (\d+)", str(error))
        at = f"{path}:{found[1]}" if found else str(path)
        raise ToolkitError(f"not TOML: {error}", at=at, try_="see https://toml.io/en/v1.0.0") from error
    lines = _KeyLines(text)
    # Items one by one first: msgspec does not say which item of a list is at fault.
    for key, item_type in (("cpu", Cpu), ("memory", Memory)):
        items = raw.get(key)
        for index, item in enumerate(items if isinstance(items, list) else []):
            _convert(item, item_type, f"{key}[{index}]", lines, path)
    board = _convert(raw, Board, "", lines, path)
    for key_path, problem, hint in _find_contradictions(board, path):
        raise ToolkitError(problem, at=f"{path}:{lines.find(key_path)}, {key_path}", try_=hint)
    return board


_Fault = tuple[str, str, str]  # key, what is wrong, what to do


def _find_contradictions(board: Board, path: Path) -> Iterator[_Fault]:
    """What the schema's types cannot say."""
    if board.name != path.stem:
        yield "name", f"name is {board.name!r}, the file is {path.name}", "name the file after the board"
    if not board.cpu:
        yield "cpu", "a board needs at least one [[cpu]]", "add the core that runs the model"
    if not board.sources:
        yield "sources", "a board file needs its sources", "name documents and pages, or what was measured"
    seen: set[str] = set()
    for index, memory in enumerate(board.memory):
        if memory.name in seen:
            yield (
                f"memory[{index}].name",
                f"two memories are called {memory.name!r}",
                "give each its own name",
            )
        seen.add(memory.name)
        yield from _find_memory_faults(f"memory[{index}]", memory)
        if board.kind in ("hardware", "emulated") and _is_addressed(memory):
            yield from _find_overlaps(f"memory[{index}].base", memory, filter(_is_addressed, board.memory[:index]))
    if board.console.driver not in ("zephyr", "host"):
        for key in ("base", "rx_irq", "pclk_hz"):
            if getattr(board.console, key) is None:
                yield "console", f"console driver {board.console.driver!r} needs {key}", f"add {key} = ..."
    for index, storage in enumerate(board.storage):
        yield from _find_storage_faults(f"storage[{index}]", storage)
    if getattr(board.runner, board.runner.default) is None:
        default = board.runner.default
        yield "runner.default", f"the default runner {default!r} has no table", f"add [runner.{default}]"


def _find_storage_faults(at: str, storage: Storage) -> Iterator[_Fault]:
    needs = {"pl081": ("base", "irq"), "emulated-nor": ("base", "size", "erase_bytes")}.get(storage.driver, ())
    for key in needs:
        if getattr(storage, key) is None:
            yield at, f"storage driver {storage.driver!r} needs {key}", f"add {key} = ..."
    erase = storage.erase_bytes
    if erase is not None and (erase < 16 or erase & (erase - 1) or erase % storage.write_bytes):
        problem = (
            f"erase_bytes {erase} is no power of two from 16 up, or no multiple of write_bytes {storage.write_bytes}"
        )
        yield f"{at}.erase_bytes", problem, "give the smallest erase and the smallest write of the flash, in bytes"
    if storage.write_bytes < 1 or 32 % storage.write_bytes:
        yield f"{at}.write_bytes", f"write_bytes {storage.write_bytes} does not divide 32", "1, 2, 4, 8, 16 or 32"


def _find_memory_faults(at: str, memory: Memory) -> Iterator[_Fault]:
    if memory.size <= 0 or memory.base < 0:
        problem = f"memory {memory.name!r} has base {memory.base} and size {memory.size}"
        yield f"{at}.size", problem, "give both in bytes, the size > 0"
    if memory.budget is not None and not 0 < memory.budget <= memory.size:
        over = memory.budget - memory.size
        problem = f"budget {memory.budget} B does not lie in 1..{memory.size} B of memory {memory.name!r}"
        yield f"{at}.budget", problem, f"take {over} B off" if over > 0 else "leave the key out to use it all"
    written = sorted({"data", "stack", "arena", "kv", "slots"}.intersection(memory.use))
    if written and "w" not in memory.access:
        problem = f"{', '.join(written)} in memory {memory.name!r}, whose access is {memory.access!r}"
        yield f"{at}.use", problem, "place them in a memory with access rw or rwx"


def _is_addressed(memory: Memory) -> bool:
    """Whether its addresses are the core's: what only a driver reads counts its own from 0."""
    return memory.xip or memory.kind not in ("nor", "storage")


def _find_overlaps(at: str, memory: Memory, others: Iterable[Memory]) -> Iterator[_Fault]:
    for other in others:
        low, high = sorted((memory, other), key=lambda m: m.base)
        overlap = low.base + low.size - high.base
        if overlap > 0:
            problem = f"memories {low.name!r} and {high.name!r} overlap by {overlap} B"
            yield at, problem, "list a second address of the same memory under `alias`"


def _convert(raw: Any, item_type: type[_T], prefix: str, lines: "_KeyLines", path: Path) -> _T:
    try:
        return msgspec.convert(raw, item_type, strict=True)
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at ")
        inner = where.strip("`").removeprefix("$").removeprefix(".").replace("[...]", "")
        key_path = ".".join(part for part in (prefix, inner) if part)
        field = re.search(r"field `(\w+)`", message)
        owner, leaf = _type_at(item_type, inner)
        if field and "unknown" in message:
            known = list(typing.get_type_hints(owner))
            near = difflib.get_close_matches(field[1], known, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            hint += f"known keys: {', '.join(known)}"
            key_path = ".".join(part for part in (key_path, field[1]) if part)
            message = f"unknown key {field[1]!r}"
        elif field:
            hint = f"add {field[1]} = ..."
            message = f"key {field[1]!r} is missing"
        else:
            choices = _choices(leaf)
            hint = f"expected one of: {', '.join(map(str, choices))}" if choices else "see boards/README.md"
            message = message[:1].lower() + message[1:]
        at = f"{path}:{lines.find(key_path)}, {key_path or 'top level'}"
        raise ToolkitError(f"board file: {message}", at=at, try_=hint) from None


def _type_at(owner: Any, key_path: str) -> tuple[Any, Any]:
    """(table type, field type) that a dotted path leads to."""
    leaf = owner
    for key in re.sub(r"\[\d+\]", "", key_path).split(".") if key_path else []:
        leaf = typing.get_type_hints(owner).get(key)
        for candidate in (leaf, *typing.get_args(leaf)):
            if isinstance(candidate, type) and issubclass(candidate, _Table):
                owner = leaf = candidate
    return owner, leaf


def _choices(leaf: Any) -> list[Any]:
    if typing.get_origin(leaf) is Literal:
        return list(typing.get_args(leaf))
    return [choice for inner in typing.get_args(leaf) for choice in _choices(inner)]


class _KeyLines:
    """The line of every key in a TOML text, by dotted path (`memory[1].size`), for messages only."""

    def __init__(self, text: str) -> None:
        self._lines: dict[str, int] = {}
        table = ""
        counts: dict[str, int] = {}
        for number, line in enumerate(text.splitlines(), start=1):
            if header := re.match(r"\s*\[\[\s*([\w.-]+)\s*\]\]", line):
                name = self._with_indices(header[1], counts, last=False)
                index = counts.get(header[1], -1) + 1
                counts[header[1]] = index
                table = f"{name}[{index}]"
                self._lines[table] = number
            elif header := re.match(r"\s*\[\s*([\w.-]+)\s*\]", line):
                table = self._with_indices(header[1], counts, last=True)
                self._lines[table] = number
            elif key := re.match(r"\s*([\w-]+)\s*=", line):
                self._lines.setdefault(f"{table}.{key[1]}".removeprefix("."), number)

    @staticmethod
    def _with_indices(dotted: str, counts: dict[str, int], *, last: bool) -> str:
        """`memory.flash` inside the second [[memory]] is `memory[1].flash`."""
        parts = dotted.split(".")
        out: list[str] = []
        for depth, part in enumerate(parts, start=1):
            name = ".".join(parts[:depth])
            indexed = name in counts and (last or depth < len(parts))
            out.append(f"{part}[{counts[name]}]" if indexed else part)
        return ".".join(out)

    def find(self, key_path: str) -> int:
        """Line of the key, else of the nearest table around it, else 1."""
        while key_path:
            if key_path in self._lines:
                return self._lines[key_path]
            key_path = key_path.rpartition("[" if key_path.endswith("]") else ".")[0]
        return 1
