"""Kernel programs: which files, compiled how, linked to what."""

import platform
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from mmoe_embed.bench.targets import Target
from mmoe_embed.errors import ToolchainError
from mmoe_embed.resources import firmware_dir, kernels_dir
from mmoe_embed.toolchain import ZIG, zig_library

FIRMWARE = Path(__file__).parent / "firmware"
FREESTANDING = firmware_dir() / "ports" / "freestanding"
# The bits of a kernel depend on the second line.
C_FLAGS = ("-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic",
           "-ffp-contract=off", "-fno-math-errno",
           "-ffunction-sections", "-fno-common")  # fmt: skip


def kernel_sources(folders: Sequence[str]) -> list[Path]:
    """List the files of a build: every reference file, or its namesake in the first folder that has one."""
    root = kernels_dir()
    return [
        next(path for folder in folders if (path := root / folder / reference.name).is_file())
        for reference in sorted((root / "reference").glob("*.c"))
    ]


def reference_names() -> list[str]:
    """Name the functions of `reference/`: one a file, called like it."""
    return [path.stem for path in sorted((kernels_dir() / "reference").glob("*.c"))]


def freestanding_flags() -> tuple[str | Path, ...]:
    """Flags for a core without a C library: the headers are the product's own."""
    return ("-ffreestanding", "-isystem", FREESTANDING)


@cache
def has_compiler(compiler: str) -> bool:
    """Whether a compiler is there: "gcc", "clang", "arm-none-eabi-gcc", "aarch64-linux-gnu-gcc" or "zig"."""
    if compiler == "zig":
        found = subprocess.run([*ZIG, "version"], capture_output=True, check=False)
        return found.returncode == 0
    return shutil.which(compiler) is not None


def compiler_of(target: Target) -> str:
    """Name the GCC of a target."""
    if not target.processor:
        return "arm-none-eabi-gcc"
    return "gcc" if target.processor == platform.machine() else f"{target.processor}-linux-gnu-gcc"


def _run(command: Sequence[str | Path]) -> None:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToolchainError(
            f"compiler failed with exit code {done.returncode}", at=" ".join(map(str, command)), try_=done.stderr
        )


def build_program(
    target: Target,
    compiler: str,
    output: Path,
    programs: Iterable[Path],
    *,
    optimize: str = "-O3",
    defines: Sequence[str] = (),
    with_reference: bool = False,
    flags: Sequence[str] = (),
    others: Sequence[Path] = (),
    includes: Sequence[Path] = (),
) -> Path:
    """Compile the target's kernels with `programs` into one executable.

    Args:
        target: the core.
        compiler: as `has_compiler` takes it.
        output: the executable; objects go into a folder beside it.
        programs: C files, one with `main`.
        optimize: the optimization flag; that of builds by default.
        defines: -D flags.
        with_reference: also link every reference kernel under the name `reference_<name>`.
        flags: further compiler flags.
        others: C files of another project, whose warnings are theirs.
        includes: further folders of headers.
    """
    objects = output.parent / f"{output.name}.objects"
    objects.mkdir(parents=True, exist_ok=True)
    folders = (kernels_dir() / "include", kernels_dir() / "reference", FIRMWARE, *includes)
    include = tuple(f"-I{folder}" for folder in folders)
    if compiler == "zig":
        driver: tuple[str | Path, ...] = (*ZIG, "cc", *target.zig)
    else:
        driver = (compiler, *target.gcc)
    own = [*programs]
    if target.is_host:
        own += [FIRMWARE / "host_posix.c"]
        defines = (*defines, "-DMMOE_HOST_POSIX")
    else:
        core = "host_aarch64.c" if target.processor else "host_arm.c"
        own += [FIRMWARE / core, FIRMWARE / "host_bare.c", FREESTANDING / "memory_functions.c"]
        # AArch64 kernels are made for hosts, with a library: only the program goes without
        driver += () if target.processor else freestanding_flags()
    renames = tuple(f"-D{name}=reference_{name}" for name in reference_names())
    jobs: list[tuple[Path, str, tuple[str, ...]]] = [
        (path, f"{path.parent.name}.{path.stem}.o", ()) for path in kernel_sources(target.folders)
    ]
    if with_reference:
        jobs += [(path, f"renamed.{path.stem}.o", renames) for path in kernel_sources(("reference",))]
    jobs += [(path, f"other.{path.stem}.o", ("-w",)) for path in others]
    jobs += [(path, f"{path.stem}.o", ("-fno-builtin",)) for path in own]
    for source, name, extra in jobs:
        _run([*driver, *C_FLAGS, optimize, *flags, *defines, *extra, *include, "-c", source, "-o", objects / name])
    link: list[str | Path] = [*driver, *flags]
    script: list[str | Path] = ["-static", "-T", FIRMWARE / "target.ld"]
    symbols = (
        f"mmoe_ram_origin={target.ram_origin}",
        f"mmoe_stack_top={target.ram_origin + target.ram_bytes}",
        f"mmoe_guard_end={target.guard_end}",
    )
    if target.is_host:
        script = []
    elif compiler == "zig":  # its driver knows no --defsym
        link = [*ZIG, "ld.lld"]
        script += [f"--defsym={symbol}" for symbol in symbols]
        if "-mfloat-abi=soft" in target.gcc:
            library = objects / "compiler_rt.a"
            _run([*zig_library(target.zig), f"-femit-bin={library}"])
            script.append(library)
    else:
        script += ["-nostdlib", *(f"-Wl,--defsym={symbol}" for symbol in symbols), "-lgcc"]
    link += [*(objects / name for _, name, _ in jobs), *script, "-o", output]
    _run(link)
    return output
