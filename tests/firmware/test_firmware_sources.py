"""Every C file of the firmware is clean under every compiler, and no library is linked into an image."""

import dataclasses
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from emitted import Models, require_tool
from images import FIRMWARE, MACHINES, WARNINGS, ZIG_CC, build_image, include_flags, run, sources

from mmoe_embed.errors import ToolchainError
from mmoe_embed.plan import SLOT_STATE_BYTES, TOKEN_BYTES
from mmoe_embed.stack import bound_stack, read_functions

MODEL_HEADER = """
#include "mmoe_runtime.h"
#ifdef MMOE_UPDATES
enum { MMOE_MODEL_SPARE_PAGES = 1 };
#else
enum { MMOE_MODEL_SPARE_PAGES = 0 };
#endif
enum { MMOE_MODEL_LAYERS = 1, MMOE_MODEL_ROUTED_LAYERS = 1, MMOE_MODEL_EXPERTS = 0, MMOE_MODEL_TOP_K = 0, MMOE_MODEL_OPS = 3, MMOE_MODEL_CHUNK = 1,
       MMOE_MODEL_ARENA_BYTES = 64, MMOE_MODEL_KV_BYTES = 64, MMOE_MODEL_SLOTS = 0, MMOE_MODEL_EXPERT_BYTES = 0,
       MMOE_MODEL_MAPPED = 1, MMOE_MODEL_TIMELINE = 0 };
"""
# Experts can be replaced, and the driver of an emulated flash
UPDATES = ["-DMMOE_UPDATES", "-DMMOE_NOR_BASE=0x21000000u", "-DMMOE_NOR_BYTES=0x1000000u"]
UPDATES += ["-DMMOE_NOR_ERASE_BYTES=4096u", "-DMMOE_NOR_WRITE_BYTES=1u"]


@pytest.fixture(scope="module")
def gen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model.h of a dense model."""
    folder = tmp_path_factory.mktemp("gen")
    (folder / "model.h").write_text(MODEL_HEADER)
    return folder


@pytest.mark.gcc
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_host_sources_compile_without_warnings(compiler: str, gen: Path) -> None:
    require_tool(compiler)
    command = [compiler, *WARNINGS, "-O2", "-fsyntax-only", *include_flags("host", gen)]
    run([*command, *sources("host", "host")])
    run([*command, *UPDATES, "-DMMOE_STORAGE_FILE", *sources("host", "host", "file")])


@pytest.mark.arm
@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("compiler", ["gcc", "zig"])
def test_board_sources_compile_without_warnings(compiler: str, machine: str, gen: Path, tmp_path: Path) -> None:
    board = MACHINES[machine]
    if compiler == "zig" and not board.zig:
        return
    if compiler == "gcc":
        require_tool("arm-none-eabi-gcc")
    driver = (*ZIG_CC, *board.zig) if compiler == "zig" else ("arm-none-eabi-gcc", "-mthumb", *board.gcc)
    defines = [f"-D{key}={value}" for key, value in board.defines.items()]
    command = [*driver, *WARNINGS, "-O2", "-ffreestanding", "-c", *defines, *include_flags("cortex_m", gen)]
    run([*command, *sources("cortex_m", board.console)], cwd=tmp_path)
    written = [file for file in sources("cortex_m", board.console, "emulated-nor") if "flash" in file.read_text()]
    run([*command, *UPDATES, *written], cwd=tmp_path)


@pytest.mark.arm
@pytest.mark.parametrize("machine", ["mps3-an547", "netduinoplus2"])
def test_image_holds_no_library(machine: str, models: Models) -> None:
    elf = models.image(machine)
    symbols = {line.split()[-1] for line in run(["arm-none-eabi-nm", elf]).splitlines()}
    assert not {s for s in symbols if re.match(r"_?(malloc|free|sbrk|printf|puts|exit|abort|expf?|sqrtf?)$", s)}
    assert not {s for s in symbols if s.startswith("__aeabi_unwind")}
    sections = run(["arm-none-eabi-readelf", "-SW", elf])
    for name in (".mmoe_arena", ".mmoe_kv", ".mmoe_slots", ".mmoe_stack", ".bss"):
        assert re.search(rf"{re.escape(name)}\s+NOBITS", sections), name  # none of them is in the file


@pytest.mark.arm
def test_memory_that_is_too_small_is_named(models: Models, tmp_path: Path) -> None:
    require_tool("arm-none-eabi-gcc")
    machine = MACHINES["mps2-an386"]
    small = dataclasses.replace(machine, memories=(machine.memories[0], ("ssram23", 0x20000000, 0x2000, "rwx")))
    with pytest.raises(AssertionError, match="region `ssram23' overflowed by"):
        build_image(models.emit(3), tmp_path / "small.elf", small)


@pytest.mark.arm
@pytest.mark.parametrize("machine", ["mps3-an547", "mps2-an386", "mps2-an385"])
def test_stack_bound_counts_what_the_compiler_counts(machine: str, models: Models, tmp_path: Path) -> None:
    """Frames read from the instructions against GCC's -fstack-usage, which counts 0 for what is written in assembly."""
    require_tool("arm-none-eabi-gcc")
    elf = tmp_path / "image.elf"
    build_image(models.emit(3), elf, MACHINES[machine], flags=("-O2", "-fstack-usage"))
    lines = [line for file in tmp_path.rglob("*.su") for line in file.read_text().splitlines()]
    lines += [line for file in (models.folder / "objects").rglob("*.su") for line in file.read_text().splitlines()]
    counted = {(name.rpartition(":")[2], int(size)) for name, size, _ in (line.split("\t") for line in lines)}
    functions = [f for f in read_functions(elf).values() if any(name == f.name for name, _ in counted)]
    assert len(functions) > 50
    for function in functions:
        sizes = {size for name, size in counted if name == function.name}
        assert function.frame_bytes in sizes or (0 in sizes and function.frame_bytes > 0), function
    indirect = tomllib.loads((FIRMWARE / "sources.toml").read_text())["indirect_calls"]
    assert 300 < bound_stack(elf, "Reset_Handler", indirect) < 2048


_FRAMES = {
    "push {r4-r11, lr}": 36,
    "push {r2-r4}": 12,
    "push {lr}": 4,
    "vpush {d8-d15}": 64,
    "vpush {s17-s19}": 12,
    "sub sp, #16": 16,
    "sub.w sp, sp, #4352": 4352,
    "subw sp, sp, #2049": 2049,
    "str r3, [sp, #-4]!": 4,
    "strd r2, r3, [sp, #-8]!": 8,
    "ldr.w r0, [r1, #180]": 0,
    "add sp, #96": 0,
    "sub.w r3, r3, #16": 0,
}


@pytest.mark.arm
def test_stack_bound_of_assembly(tmp_path: Path) -> None:
    body = "\\n".join(_FRAMES)
    elf = _link(tmp_path, f'__attribute__((naked)) void inner(void) {{ __asm__("{body}\\n b ."); }} '
                          "void outer(void) { inner(); __asm__ volatile(\"\"); }")  # fmt: skip
    assert {f.name: f.frame_bytes for f in read_functions(elf).values()} == {"inner": sum(_FRAMES.values()), "outer": 8}
    assert bound_stack(elf, "outer", {}) == sum(_FRAMES.values()) + 8


@pytest.mark.arm
def test_stack_bound_follows_veneers_and_branches_into_functions(tmp_path: Path) -> None:
    elf = _link(tmp_path, """
        __attribute__((naked)) void inner(void) { __asm__("push {r4-r7}\\n .global middle\\n middle: push {r0, r1}\\n b ."); }
        __attribute__((naked)) void veneer(void) { __asm__("ldr.w pc, 1f\\n .align 2\\n 1: .word inner + 1"); }
        void middle(void);
        void outer(void) { veneer(); __asm__ volatile(""); }
        void other(void) { middle(); __asm__ volatile(""); }
    """)  # fmt: skip
    assert bound_stack(elf, "outer", {}) == bound_stack(elf, "other", {}) == 8 + 24


@pytest.mark.arm
@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("int outer(int n) { return n ? outer(n - 1) * n : 1; } int inner(int n) { return outer(n); }", "recursion"),
        ("int outer(int n) { volatile char a[n]; a[0] = 1; return a[n / 2]; }", "not bounded"),
        ("void outer(void (*f)(void)) { f(); f(); }", "through a pointer"),
        (
            '__asm__(".section .text.x,\\"ax\\"\\n.thumb\\n.global bare\\nbare: push {r4}\\nb .");'
            'void bare(void); void outer(void) { bare(); __asm__ volatile(""); }',
            "calls 0x[0-9a-f]+, where no function",
        ),
    ],
)
def test_stack_without_a_bound_is_refused(tmp_path: Path, code: str, message: str) -> None:
    with pytest.raises(ToolchainError, match=message):
        bound_stack(_link(tmp_path, code), "outer", {})


def _link(folder: Path, code: str) -> Path:
    """An image for a Cortex-M4 of a few functions; the entry is `outer`."""
    require_tool("arm-none-eabi-gcc")
    source = folder / "functions.c"
    source.write_text(code + "\n")
    cpu = ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16")
    run(["arm-none-eabi-gcc", *cpu, "-O1", "-fno-inline", "-ffreestanding", "-nostdlib", "-Wl,-e,outer",
         "-o", folder / "functions.elf", source])  # fmt: skip
    return folder / "functions.elf"


@pytest.mark.arm
@pytest.mark.parametrize("compiler", [("arm-none-eabi-gcc", "-mthumb", "-mcpu=cortex-m4"), ("gcc",)])
def test_plan_counts_what_the_runtime_keeps(compiler: tuple[str, ...], gen: Path, tmp_path: Path) -> None:
    require_tool(compiler[0])
    source = tmp_path / "sizes.c"
    source.write_text(
        '#include "mmoe_internal.h"\n'
        f'_Static_assert(sizeof(mmoe_slot) == {SLOT_STATE_BYTES}, "slot");\n'
        f'_Static_assert(sizeof(*mmoe_the_memory.tokens) == {TOKEN_BYTES}, "token");\n'
    )
    run([*compiler, "-std=c11", "-fsyntax-only", f"-I{FIRMWARE / 'src'}", *include_flags("host", gen), source])


@pytest.mark.gcc
def test_wrong_abi_is_refused_at_compile_time(models: Models) -> None:
    require_tool("gcc")
    done = subprocess.run(
        [
            "gcc",
            "-std=c11",
            "-fsyntax-only",
            "-include",
            "mmoe_runtime.h",
            "-UMMOE_ABI",
            "-DMMOE_ABI=99",
            "-x",
            "c",
            *include_flags("host", models.emit(3)),
            "-",
        ],
        input='#undef MMOE_ABI\n#define MMOE_ABI 99\n#include "model.h"\n',
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "emitted for MMOE_ABI" in done.stderr
