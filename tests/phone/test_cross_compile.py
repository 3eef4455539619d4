"""What goes into an app compiles for AArch64 Linux and Android without a warning, as far as plain compilers have the headers."""

import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from mmoe_embed.board import load_board
from mmoe_embed.compile import kernel_sources
from mmoe_embed.resources import firmware_dir, kernels_dir, read_source_rules
from mmoe_embed.toolchain import ZIG, kernel_folders

pytestmark = [pytest.mark.executorch, pytest.mark.aarch64]
PORT = firmware_dir() / "ports" / "executorch"
WARNINGS = ["-Wall", "-Wextra", "-Werror"]
INCLUDES = [f"-I{path}" for path in (firmware_dir() / "include", firmware_dir() / "src", kernels_dir() / "include")]
# of the firmware, what the delegate is linked with
PAGER = [firmware_dir() / "src" / f"{name}.c" for name in ("moe", "pager", "policy", "image", "divide")]
# what an Android process has from its C library
LIBC = {"memcpy", "memset", "memcmp", "memmove", "getauxval"}


def compile_file(command, source, output):
    done = subprocess.run(
        [*command, "-c", str(source), "-o", str(output)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return output


def symbols(file):
    """(defined, undefined) names of an AArch64 object."""
    with file.open("rb") as stream:
        elf = ELFFile(stream)
        assert elf.get_machine_arch() == "AArch64"
        named = [s for s in elf.get_section_by_name(".symtab").iter_symbols() if s["st_info"]["bind"] == "STB_GLOBAL"]
        undefined = {s.name for s in named if s["st_shndx"] == "SHN_UNDEF"}
        return {s.name for s in named} - undefined, undefined


@pytest.mark.parametrize("name", ["operators.cpp", "delegate.cpp", "reader.cpp", "runner/main.cpp", "paged.c", "in_program.c"])
def test_port_compiles_for_aarch64_linux(tmp_path, name):
    sdk = Path(find_spec("executorch.exir").origin).parents[1] / "include"
    of_c = name.endswith(".c")
    command = [*ZIG, "cc" if of_c else "c++", "-target", "aarch64-linux-musl"]
    command += ["-std=c11", "-pedantic"] if of_c else ["-std=c++17", "-DC10_USING_CUSTOM_GENERATED_MACROS"]
    command += [*WARNINGS, *INCLUDES, f"-isystem{sdk}"]
    command += [f"-isystem{sdk / 'executorch/runtime/core/portable_type/c10'}"]
    defined, _ = symbols(compile_file(command, PORT / name, tmp_path / "port.o"))
    assert defined


def test_kernels_and_pager_compile_for_android(tmp_path):
    """clang without an NDK has its own headers only; ports/freestanding has the rest of what these files include, but one."""
    board = load_board("linux_aarch64")
    (tmp_path / "sys").mkdir()
    (tmp_path / "sys" / "auxv.h").write_text(
        "#define AT_HWCAP 16\n#define AT_HWCAP2 26\nunsigned long getauxval(unsigned long);\n"
    )
    command = [*ZIG, "cc", "-target", "aarch64-linux-android", "-std=c11", "-O2", "-ffreestanding"]
    command += ["-pedantic", *WARNINGS, *read_source_rules()["numeric_flags"], *INCLUDES]
    command += ["-isystem", str(firmware_dir() / "ports/freestanding"), "-isystem", str(tmp_path)]
    command += [f"-I{kernels_dir() / folder}" for folder in kernel_folders(board)]
    defined, undefined = set(), set()
    for number, source in enumerate([*kernel_sources(board), *PAGER, PORT / "in_program.c"]):
        own, missing = symbols(compile_file(command, source, tmp_path / f"{number}.o"))
        assert not own & defined, source
        defined |= own
        undefined |= missing
    port = {"mmoe_port_ticks", "mmoe_port_tick_hz", "mmoe_port_read_start", "mmoe_port_read_done"}
    port |= {"mmoe_port_read_progress", "mmoe_port_read_ended"}
    assert undefined - defined <= LIBC | port
    assert port <= undefined
