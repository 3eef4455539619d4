"""Counts of every kernel on one core."""

import platform
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from mmoe_embed.bench.emulator import run_program
from mmoe_embed.bench.image import FIRMWARE, build_program, compiler_of, has_compiler, kernel_sources
from mmoe_embed.bench.targets import TARGETS, Target
from mmoe_embed.errors import ToolchainError, ToolkitError, UsageError


@dataclass(frozen=True)
class KernelCount:
    """One kernel and shape.

    Args:
        instructions: of one call; on hosts 0.
        nanoseconds: of one call, on hosts; on emulated cores 0.
        batch: vectors at once; of attention heads, of routing the experts that are chosen, of sampling its top_k, of
            normalizing the channels.
        code_bytes: machine code of the kernel and of the kernels that it calls; of no kernel 0.
        stack_bytes: deepest use below the caller; on hosts 0.
    """

    kernel: str
    rows: int
    columns: int
    batch: int
    macs: int
    instructions: int
    instructions_per_mac: float
    nanoseconds: int
    code_bytes: int
    stack_bytes: int

    @property
    def shape(self) -> tuple[str, int, int, int]:
        """What two measurements must share to be compared."""
        return self.kernel, self.rows, self.columns, self.batch

    @property
    def label(self) -> str:
        """The kernel and its shape, for people."""
        return f"{self.kernel} {self.rows} x {self.columns} x {self.batch}"

    @property
    def cost(self) -> int:
        """Instructions, or nanoseconds where there are none."""
        return self.instructions or self.nanoseconds


def _read_object(path: Path) -> tuple[int, set[str]]:
    """Bytes of an object's code, and what it calls elsewhere."""
    with path.open("rb") as file:
        elf = ELFFile(file)
        size = sum(section["sh_size"] for section in elf.iter_sections() if section.name.startswith(".text"))
        tables = [section for section in elf.iter_sections() if isinstance(section, SymbolTableSection)]
        symbols = [symbol for table in tables for symbol in table.iter_symbols()]
    return size, {symbol.name for symbol in symbols if symbol["st_shndx"] == "SHN_UNDEF"}


def _code_bytes(objects: dict[str, Path]) -> dict[str, int]:
    """Bytes of code of each function, what it calls among them included: one object a function, called like it."""
    read = {name: _read_object(path) for name, path in objects.items()}

    def reach(name: str, seen: set[str]) -> set[str]:
        seen.add(name)
        for called in read[name][1] & read.keys() - seen:
            reach(called, seen)
        return seen

    return {name: sum(read[each][0] for each in reach(name, set())) for name in read}


def find_target(board: str) -> Target:
    """Look a board up.

    Raises:
        UsageError: there is none of this name.
    """
    if board not in TARGETS:
        raise UsageError(f"kernels cannot be measured on {board}", try_=f"one of {', '.join(TARGETS)}")
    return TARGETS[board]


def check_kernel(kernel: str) -> None:
    """Before the work: the benchmark measures a kernel of this name, "" being all.

    Raises:
        UsageError: it does not.
    """
    names = sorted(set(re.findall(r'"(mmoe_\w+|memcpy)"', (FIRMWARE / "bench.c").read_text())))
    if kernel not in ("", *names):
        raise UsageError(f"no kernel is called {kernel}", try_=f"one of {', '.join(names)}")


def _choose_compiler(board: str, compiler: str) -> tuple[Target, str]:
    target = find_target(board)
    if compiler == "clang" and not (target.is_host and target.processor == platform.machine()):
        raise UsageError(f"clang has no linker and no library for {board}", try_="--compiler zig, which is clang too")
    chosen = compiler_of(target) if compiler in ("", "gcc") else compiler
    if not compiler and not has_compiler(chosen) and target.zig:
        chosen = "zig"
    if not has_compiler(chosen):
        raise ToolchainError(f"no {chosen} to build kernels for {board}", try_="mmoe-embed doctor")
    return target, chosen


def measure_kernels(board: str, compiler: str = "", kernel: str = "") -> list[KernelCount]:
    """Build the benchmark for a board, run it, and count.

    Args:
        board: a name of TARGETS.
        compiler: "gcc" (the board's), "clang" (hosts) or "zig"; "" is GCC, or zig where that is missing.
        kernel: only kernels of this name; "" is all.

    Raises:
        UsageError: no such board or kernel, or the compiler is not for this board.
    """
    check_kernel(kernel)
    target, chosen = _choose_compiler(board, compiler)
    with tempfile.TemporaryDirectory() as folder:
        program = build_program(target, chosen, Path(folder) / "bench", [FIRMWARE / "bench.c"])
        output = run_program(target, program)
        objects = Path(folder) / "bench.objects"
        sources = kernel_sources(target.folders)
        sizes = _code_bytes({path.stem: objects / f"{path.parent.name}.{path.stem}.o" for path in sources})
    counts = [_parse_line(target, line, sizes) for line in output.splitlines() if line.startswith(("mmoe_", "memcpy"))]
    return [count for count in counts if kernel in ("", count.kernel)]


def measure_cmsis_nn(board: str, checkout: Path, compiler: str = "") -> list[KernelCount]:
    """Count CMSIS-NN's matrix-vector products as `measure_kernels` counts ours.

    Args:
        board: an emulated Cortex-M of TARGETS.
        checkout: a folder of https://github.com/ARM-software/CMSIS-NN.
        compiler: as `measure_kernels` takes it.

    Raises:
        ToolkitError: the folder is no CMSIS-NN, or the board no Cortex-M.
    """
    target, chosen = _choose_compiler(board, compiler)
    if target.is_host:
        raise ToolkitError(f"CMSIS-NN is for Cortex-M, not for {board}")
    sources = [checkout / "Source" / "NNSupportFunctions" / f"arm_nn_vec_mat_mult_t_{kind}.c" for kind in ("s8", "s4")]
    if missing := [path for path in sources if not path.is_file()]:
        raise ToolkitError(f"not a checkout of CMSIS-NN: no {missing[0].name}", at=str(checkout),
                           try_="git clone https://github.com/ARM-software/CMSIS-NN")  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        program = build_program(target, chosen, Path(folder) / "bench", [FIRMWARE / "bench_cmsis_nn.c"],
                                others=sources, includes=[checkout / "Include"])  # fmt: skip
        objects = Path(folder) / "bench.objects"
        sizes = _code_bytes({path.stem: objects / f"other.{path.stem}.o" for path in sources})
        lines = run_program(target, program).splitlines()
    return [_parse_line(target, line, sizes) for line in lines]


def _parse_line(target: Target, line: str, sizes: dict[str, int]) -> KernelCount:
    name, *numbers = line.split()
    rows, columns, batch, macs, total, calls, stack = map(int, numbers)
    nanoseconds = total / calls if target.is_host else 0
    # Under `-icount shift=0` an instruction takes a nanosecond of the emulated clock.
    instructions = 0 if target.is_host else total * 1_000_000_000 / target.tick_hz / calls
    return KernelCount(name, rows, columns, batch, macs, round(instructions), round(instructions / macs, 4),
                       round(nanoseconds), sizes.get(name, 0), stack)  # fmt: skip
