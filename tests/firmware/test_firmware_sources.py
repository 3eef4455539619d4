"""Every C file of the firmware is clean under every compiler, and no library is linked into an image."""

import dataclasses
import re
import subprocess
from pathlib import Path

import pytest
from emitted import Models, require_tool
from images import MACHINES, WARNINGS, ZIG, build_image, include_flags, run, sources

from mmoe_embed.elf import bound_stack, count_pushes

MODEL_HEADER = """
#include "mmoe_runtime.h"
enum { MMOE_MODEL_LAYERS = 1, MMOE_MODEL_EXPERTS = 0, MMOE_MODEL_TOP_K = 0, MMOE_MODEL_OPS = 3,
       MMOE_MODEL_ARENA_BYTES = 64, MMOE_MODEL_KV_BYTES = 64, MMOE_MODEL_SLOTS = 0, MMOE_MODEL_EXPERT_BYTES = 0,
       MMOE_MODEL_MAPPED = 1 };
"""


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
    run([compiler, *WARNINGS, "-O2", "-fsyntax-only", *include_flags("host", gen), *sources("host", "host")])


@pytest.mark.arm
@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("compiler", ["gcc", "zig"])
def test_board_sources_compile_without_warnings(compiler: str, machine: str, gen: Path, tmp_path: Path) -> None:
    board = MACHINES[machine]
    if compiler == "zig" and not board.zig:
        return
    if compiler == "gcc":
        require_tool("arm-none-eabi-gcc")
    driver = (*ZIG, *board.zig) if compiler == "zig" else ("arm-none-eabi-gcc", "-mthumb", *board.gcc)
    defines = [f"-D{key}={value}" for key, value in board.defines.items()]
    run(
        [
            *driver,
            *WARNINGS,
            "-O2",
            "-ffreestanding",
            "-c",
            *defines,
            *include_flags("cortex_m", gen),
            *sources("cortex_m", board.console),
        ],
        cwd=tmp_path,
    )


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
def test_stack_is_bounded_and_nothing_recurses(models: Models, tmp_path: Path) -> None:
    """Call graphs of GCC: no recursion, no frame without a bound."""
    require_tool("arm-none-eabi-gcc")
    build_image(models.emit(3), tmp_path / "image.elf", MACHINES["mps2-an386"], flags=("-O2", "-fcallgraph-info=su"))
    graphs = [*tmp_path.glob("*.ci"), *(models.folder / "objects").glob("*/*.ci")]
    assert graphs
    pushed = count_pushes(tmp_path / "image.elf")
    bound = bound_stack(graphs, "Reset_Handler", {"mmoe_step": ("step",)}, pushed)
    assert 300 < bound < 2048


@pytest.mark.arm
def test_functions_written_in_assembly_count_for_what_they_push(tmp_path: Path) -> None:
    require_tool("arm-none-eabi-gcc")
    source = tmp_path / "naked.c"
    source.write_text(
        'void inner(void); __attribute__((naked)) void inner(void) { __asm__("push {r4-r11, lr}\\n push {r2-r4}\\n '
        'vpush {d8-d15}\\n sub sp, #16\\n str r3, [sp, #-4]!\\n ldr.w r0, [r1, #180]\\n add sp, #96\\n pop {r4-r11, pc}"); }\n'
        "void outer(void); void outer(void) { inner(); }\n"
    )
    run(["arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16", "-O2", "-nostdlib",
         "-fcallgraph-info=su", "-Wl,-e,outer", "-o", tmp_path / "naked.elf", source], cwd=tmp_path)  # fmt: skip
    pushed = count_pushes(tmp_path / "naked.elf")
    assert pushed["inner"] == 36 + 12 + 64 + 16 + 4
    assert pushed["outer"] == 0
    assert bound_stack(tmp_path.glob("*.ci"), "outer", {}, pushed) == 132


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
