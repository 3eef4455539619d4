"""Builds firmware images for the tests from firmware/sources.toml, with a compiler command of the test's choice."""

import dataclasses
import hashlib
import subprocess
import tomllib
from collections.abc import Sequence
from pathlib import Path

import jinja2

from mmoe_embed.toolchain import ZIG

ROOT = Path(__file__).resolve().parents[2]
FIRMWARE = ROOT / "firmware"
KERNELS = ROOT / "kernels_cmsis"
WARNINGS = ("-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic")
NUMERIC = ("-ffp-contract=off", "-fno-math-errno")
ZIG_CC = (*ZIG, "cc")


@dataclasses.dataclass(frozen=True)
class Machine:
    """An emulated board: how to compile for it, where things go, how QEMU runs it."""

    qemu: str
    gcc: tuple[str, ...]
    zig: tuple[str, ...]
    console: str
    defines: dict[str, str]
    memories: tuple[tuple[str, int, int, str], ...]
    placement: dict[str, str]


def _uart(base: int, irq: int, pclk_hz: int, tick_hz: int) -> dict[str, str]:
    return {
        "MMOE_UART_BASE": hex(base),
        "MMOE_UART_IRQ": str(irq),
        "MMOE_UART_BAUD": "115200",
        "MMOE_UART_PCLK_HZ": str(pclk_hz),
        "MMOE_TICK_HZ": str(tick_hz),
    }


def _place(flash: str, sram: str, **others: str) -> dict[str, str]:
    return {
        **dict.fromkeys(("text", "rodata", "experts"), flash),
        **dict.fromkeys(("data", "stack", "arena", "kv", "slots"), sram),
        **others,
    }


MACHINES = {
    "mps3-an547": Machine(
        "mps3-an547",
        ("-mcpu=cortex-m55", "-mfloat-abi=hard", "-mfpu=auto"),
        ("-target", "thumb-freestanding-eabihf", "-mcpu=cortex_m55+mve_fp+fp_armv8d16"),
        "cmsdk-uart",
        _uart(0x49303000, 33, 25_000_000, 32_000_000),
        (
            ("itcm", 0, 0x80000, "rwx"),
            ("dtcm", 0x20000000, 0x80000, "rwx"),
            ("isram", 0x21000000, 0x400000, "rwx"),
            ("qspi", 0x28000000, 0x800000, "rx"),
        ),
        _place("itcm", "dtcm", rodata="qspi", experts="qspi", kv="isram", slots="isram"),
    ),
    "mps2-an386": Machine(
        "mps2-an386",
        ("-mcpu=cortex-m4", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"),
        ("-target", "thumb-freestanding-eabihf", "-mcpu=cortex_m4+vfp4d16sp"),
        "cmsdk-uart",
        _uart(0x40004000, 0, 25_000_000, 25_000_000),
        (("ssram1", 0, 0x400000, "rx"), ("ssram23", 0x20000000, 0x30000, "rwx")),
        _place("ssram1", "ssram23"),
    ),
    "netduinoplus2": Machine(
        "netduinoplus2",
        ("-mcpu=cortex-m4", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"),
        ("-target", "thumb-freestanding-eabihf", "-mcpu=cortex_m4+vfp4d16sp"),
        "stm32-usart",
        _uart(0x40011000, 37, 16_000_000, 168_000_000),
        (("flash", 0x08000000, 0x100000, "rx"), ("sram", 0x20000000, 0x30000, "rwx")),
        _place("flash", "sram"),
    ),
    "mps2-an385": Machine(
        "mps2-an385",
        ("-mcpu=cortex-m3", "-mfloat-abi=soft"),
        (),
        "cmsdk-uart",
        _uart(0x40004000, 0, 25_000_000, 25_000_000),
        (("ssram1", 0, 0x400000, "rx"), ("ssram23", 0x20000000, 0x30000, "rwx")),
        _place("ssram1", "ssram23"),
    ),
}


def sources(target: str, console: str, storage: str = "mapped") -> list[Path]:
    """The files of firmware/ that sources.toml names for a target."""
    table = tomllib.loads((FIRMWARE / "sources.toml").read_text())
    patterns = table["always"] + table["target"][target]["files"] + table["console"][console]["files"]
    patterns += table["storage"][storage]["files"]
    return [file for pattern in patterns for file in sorted(FIRMWARE.glob(pattern))]


def include_flags(target: str, gen: Path | None = None) -> list[str]:
    """-I and -isystem of sources.toml."""
    table = tomllib.loads((FIRMWARE / "sources.toml").read_text())
    folders = [*table["include"], *table["target"][target]["include"]]
    return [f"-I{FIRMWARE / folder}" for folder in folders] + [
        f"-I{KERNELS / 'include'}",
        *([f"-I{gen}"] if gen else []),
        *(f"-isystem{FIRMWARE / folder}" for folder in table["target"][target]["system_include"]),
    ]


def run(command: Sequence[str | Path], cwd: Path | None = None) -> str:
    """Run a tool; its messages are the test's failure."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, cwd=cwd)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stderr}{done.stdout}"
    return done.stdout


def _emitted(gen: Path) -> list[Path]:
    return [file for name in ("model.c", "tokens.c", "weights.S", "experts.S") if (file := gen / name).exists()]


def _compile_common(folder: Path, command: Sequence[str | Path], files: Sequence[Path]) -> list[Path]:
    """Objects of the kernels and of every file that knows nothing of the model, made once for each command."""
    common = [file for file in (*files, *sorted((KERNELS / "reference").glob("*.c"))) if file.name != "memory.c"]
    key = hashlib.sha256(repr((command, common)).encode()).hexdigest()[:16]
    objects = folder / key
    if not objects.exists():
        partial = folder / f"{key}-partial"
        partial.mkdir(parents=True)
        run([*command, "-c", *common], cwd=partial)
        partial.rename(objects)
    return sorted(objects.glob("*.o"))


def build_host(
    gen: Path,
    output: Path,
    compiler: Sequence[str] = ("gcc",),
    flags: Sequence[str] = ("-O2",),
    memory: Path = FIRMWARE / "src/memory.c",
) -> Path:
    """The host program of an emitted model."""
    files = sources("host", "host")
    command = [
        *compiler,
        *WARNINGS,
        *NUMERIC,
        *flags,
        '-DMMOE_VERSION="test"',
        '-DMMOE_BOARD="host"',
        *include_flags("host"),
        f"-I{KERNELS / 'reference'}",
    ]
    common = _compile_common(gen.parent / "objects", command, files)
    run([*command, f"-I{gen}", memory, *_emitted(gen), *common, "-o", output])
    return output


def render_linker_script(machine: Machine, stack_bytes: int = 4096) -> str:
    """The linker script of a machine."""
    template = (FIRMWARE / "ports/cortex_m/linker.ld.j2").read_text()
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    memories = [dict(zip(("name", "base", "size", "attributes"), memory, strict=True)) for memory in machine.memories]
    return environment.from_string(template).render(
        memories=memories, placement=machine.placement, stack_bytes=stack_bytes
    )


def build_image(
    gen: Path, output: Path, machine: Machine, compiler: str = "gcc", flags: Sequence[str] = ("-O2",)
) -> Path:
    """The image of an emitted model for a machine, with "gcc" or "zig"."""
    driver = (*ZIG_CC, *machine.zig) if compiler == "zig" else ("arm-none-eabi-gcc", "-mthumb", *machine.gcc)
    script = output.with_suffix(".ld")
    script.write_text(render_linker_script(machine))
    defines = [f"-D{key}={value}" for key, value in machine.defines.items()]
    command = [
        *driver,
        *WARNINGS,
        *NUMERIC,
        *flags,
        "-ffreestanding",
        "-ffunction-sections",
        "-fdata-sections",
        '-DMMOE_VERSION="test"',
        f'-DMMOE_BOARD="{machine.qemu}"',
        *defines,
        *include_flags("cortex_m"),
        f"-I{KERNELS / 'reference'}",
    ]
    common = _compile_common(gen.parent / "objects", command, sources("cortex_m", machine.console))
    libraries = (
        ()
        if compiler == "zig"
        else ("-Wl,--no-warn-rwx-segments", "-Wl,-z,noexecstack", "-Wl,--fatal-warnings", "-lgcc")
    )
    run(
        [
            *command,
            f"-I{gen}",
            FIRMWARE / "src/memory.c",
            *_emitted(gen),
            *common,
            "-nostdlib",
            "-static",
            "-Wl,--gc-sections",
            f"-Wl,-T,{script}",
            "-Wl,-e,Reset_Handler",
            *libraries,
            "-o",
            output,
        ]
    )
    return output
