"""Compilers: which ones there are for a board, and the flags that give the same bits with all of them."""

import dataclasses
import functools
import importlib.util
import itertools
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from mmoe_embed.board import Board
from mmoe_embed.errors import ToolchainError, UsageError
from mmoe_embed.resources import read_source_rules

COMPILERS = ("gcc", "clang", "zig")

_WARNINGS = ("-Wall", "-Wextra", "-Werror", "-pedantic")
_CODE = ("-std=c11", "-O3", "-g", "-ffunction-sections", "-fdata-sections", "-fno-common")

_GCC_FPU = {"fpv4-sp-d16": "-mfpu=fpv4-sp-d16", "fpv5-sp-d16": "-mfpu=fpv5-sp-d16", "fpv5-d16": "-mfpu=fpv5-d16"}
_ZIG_FPU = {"fpv4-sp-d16": "+vfp4d16sp", "fpv5-sp-d16": "+fp_armv8d16sp", "fpv5-d16": "+fp_armv8d16"}


@dataclasses.dataclass(frozen=True)
class Toolchain:
    """One compiler for one board.

    Attributes:
        command: what runs it, before any flag.
        flags: for every source of this board.
        link: for the link step.
        library: the command that makes clang's library for a core without floats, but for its output; else empty.
    """

    name: str
    command: tuple[str, ...]
    flags: tuple[str, ...]
    link: tuple[str, ...]
    library: tuple[str, ...] = ()

    @functools.cached_property
    def version(self) -> str:
        """First line of `--version`."""
        done = subprocess.run([*self.command, "--version"], capture_output=True, text=True, check=False)
        return done.stdout.splitlines()[0] if done.stdout else self.name

    @functools.cached_property
    def roots(self) -> dict[Path, str]:
        """Where its own headers lie on this machine, and what debug information calls the place."""
        if self.name == "zig":
            return {_zig_folder(): "ziglang"}
        asked = "-print-file-name=include" if self.name == "gcc" else "-print-resource-dir"
        done = subprocess.run([*self.command, asked], capture_output=True, text=True, check=False)
        return {Path(done.stdout.strip()): self.name} if done.stdout.startswith("/") else {}


def is_microcontroller(board: Board) -> bool:
    """Whether the build is a bare-metal image rather than a program."""
    return board.core.core.startswith("cortex-m")


def find_toolchain(board: Board, compiler: str | None = None) -> Toolchain:
    """Choose a compiler for a board.

    Args:
        board: what to build for.
        compiler: "gcc", "clang" or "zig"; None takes the first that is installed.

    Raises:
        ToolchainError: none is installed; the message says how to get one.
        UsageError: this compiler cannot build for this board.
    """
    makers = _candidates(board)
    if compiler is not None and compiler not in makers:
        raise UsageError(f"compiler {compiler!r} does not build for {board.name}; supported: {', '.join(makers)}")
    wanted = [compiler] if compiler else list(makers)
    for name in wanted:
        command, flags, link = makers[name]
        if _is_installed(command):
            numeric = read_source_rules()["numeric_flags"]
            bare = name == "zig" and is_microcontroller(board) and board.core.fpu == "none"
            library = zig_library(("-target", _zig_target(board), f"-mcpu={_zig_cpu(board)}")) if bare else ()
            return Toolchain(name, command, (*_CODE, *numeric, *_WARNINGS, *flags), link, library)
    names = ", ".join(makers[name][0][0] if name != "zig" else "the ziglang wheel" for name in wanted)
    raise ToolchainError(
        f"no compiler for {board.name}: looked for {names}",
        at=f"board {board.name}, {board.core.core}",
        try_="apt-get install gcc-arm-none-eabi, or pip install ziglang==0.17.1"
        if is_microcontroller(board)
        else "apt-get install gcc, or pip install ziglang==0.17.1",
    )


def _is_installed(command: tuple[str, ...]) -> bool:
    if command[1:2] == ("-m",):
        return importlib.util.find_spec(command[2]) is not None
    return shutil.which(command[0]) is not None


ZIG = (sys.executable, "-m", "ziglang")


def _zig_folder() -> Path:
    spec = importlib.util.find_spec("ziglang")
    if spec is None or spec.origin is None:
        raise ToolchainError("ziglang is not installed", try_="pip install ziglang==0.17.1")
    return Path(spec.origin).parent


def zig_library(target: Sequence[str]) -> tuple[str, ...]:
    """Build the command that makes clang's library for a core: float arithmetic in software, wide integers.

    The driver would add it by itself, with debug information that names this machine's folders.

    Args:
        target: -target and -mcpu, as `zig cc` takes them.
    """
    source = _zig_folder() / "lib" / "compiler_rt.zig"
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")  # the driver's own, not one in a build
    cache = os.environ.get("ZIG_GLOBAL_CACHE_DIR") or str(caches / "zig")
    options = ("-O", "ReleaseFast", "-fstrip", "-ffunction-sections", "-fno-compiler-rt", "--cache-dir", cache)
    return (*ZIG, "build-lib", str(source), *target, *options)


_Maker = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]


def _candidates(board: Board) -> dict[str, _Maker]:
    zig = (*ZIG, "cc")
    if is_microcontroller(board):
        # -fno-builtin stops the compiler from turning the loops of our own memcpy into calls of it
        bare = ("-ffreestanding",)
        gcc = (f"-mcpu={board.core.core}", "-mthumb", *_gcc_float(board), *bare)
        clang = ("-target", _zig_target(board), f"-mcpu={_zig_cpu(board)}", *bare)
        return {
            "gcc": (
                ("arm-none-eabi-gcc",),
                gcc,
                (*gcc, "-nostdlib", "-Wl,--gc-sections", "-Wl,--no-warn-rwx-segments"),
            ),
            "zig": (zig, clang, (*clang, "-nostdlib", "-Wl,--gc-sections")),
        }
    if board.core.core == "x86-64":
        # one arithmetic on every x86-64: SSE2 floats, never x87
        native = ("-msse2", "-mfpmath=sse")
        return {
            "gcc": (("gcc",), native, ()),
            "clang": (("clang",), ("-msse2",), ()),
            "zig": (zig, ("-target", "x86_64-linux-musl"), ("-target", "x86_64-linux-musl")),
        }
    cross = () if platform.machine() == "aarch64" else ("aarch64-linux-gnu-gcc",)
    target = ("-target", "aarch64-linux-musl")
    return {"gcc": (cross or ("gcc",), (), ("-static",)), "zig": (zig, target, target)}


def _gcc_float(board: Board) -> tuple[str, ...]:
    if board.core.fpu == "none":
        return ("-mfloat-abi=soft",)
    if "mve" in board.core.isa:
        return ("-mfloat-abi=hard", "-mfpu=auto")
    return ("-mfloat-abi=hard", _GCC_FPU[board.core.fpu])


def _zig_target(board: Board) -> str:
    return "thumb-freestanding-" + ("eabi" if board.core.fpu == "none" else "eabihf")


def _zig_cpu(board: Board) -> str:
    cpu = board.core.core.replace("-", "_").replace("plus", "_plus")
    isa = board.core.isa
    if "mve-fp" in isa:
        return cpu + "+mve_fp" + ("+fp_armv8d16" if board.core.fpu == "fpv5-d16" else "")
    if "mve" in isa:
        return cpu + "+mve"
    dsp = "+dsp" if "dsp" in isa and board.core.core == "cortex-m33" else ""
    return cpu + dsp + _ZIG_FPU.get(board.core.fpu, "")


def kernel_folders(board: Board) -> tuple[str, ...]:
    """Kernel folders in order of preference: the first that has a file of the reference name wins."""
    features: set[str] = {"mve" if name == "mve-fp" else name for name in board.core.isa}
    if board.core.core == "x86-64":
        features.add("x86")
    chosen = [folders for feature, folders in read_source_rules()["kernels"].items() if feature in features]
    return (*itertools.chain.from_iterable(chosen), "reference")
