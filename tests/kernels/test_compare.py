"""Fast kernels against the reference on their own cores, and no access behind a buffer's end."""

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from mmoe_embed.bench.emulator import run_program
from mmoe_embed.bench.image import build_program, compiler_of, has_compiler
from mmoe_embed.bench.targets import TARGETS, Target
from mmoe_embed.errors import DeviceError
from mmoe_embed.resources import kernels_dir

HERE = Path(__file__).parent
ARM = ("qemu_mps3_an547", "qemu_mps2_an386", "qemu_mps2_an500", "qemu_mps2_an505", "qemu_mps2_an385", "qemu_microbit")
EMULATED = [
    pytest.param(name, compiler, marks=[pytest.mark.arm, pytest.mark.qemu], id=f"{name}-{compiler}")
    for name in ARM
    for compiler in ("arm-none-eabi-gcc", "zig")
]
SELDOM = (
    "qemu_mps2_an500-zig", "qemu_mps2_an505-arm-none-eabi-gcc", "qemu_mps2_an385-arm-none-eabi-gcc", "qemu_microbit-zig",
)  # fmt: skip
ONCE = [p for p in EMULATED if p.id not in SELDOM]
HOSTS = [
    pytest.param("host_x86_64", "gcc", marks=pytest.mark.gcc, id="host_x86_64"),
    pytest.param("linux_aarch64", compiler_of(TARGETS["linux_aarch64"]), marks=pytest.mark.aarch64, id="linux_aarch64"),
]
CLANG_HOSTS = [
    pytest.param("host_x86_64", "clang", marks=pytest.mark.gcc, id="host_x86_64-clang"),
    pytest.param("linux_aarch64", "zig", marks=pytest.mark.aarch64, id="linux_aarch64-zig"),
]


def target_or_skip(name: str, compiler: str) -> Target:
    """The target, where its compiler and its emulator are installed."""
    target = TARGETS[name]
    if not has_compiler(compiler):
        pytest.skip(f"no {compiler}")
    emulator = f"qemu-{target.processor}" if target.is_host else "qemu-system-arm"
    if not shutil.which(emulator):
        pytest.skip(f"no {emulator}")
    return target


def run_on_every_cpu(target: Target, program: Path) -> list[str]:
    """What a program printed, on hosts on this CPU and on emulated ones that take the other paths."""
    own = [""] if not target.is_host or target.processor == platform.machine() else []
    cpus = target.cpus if target.is_host else ()
    return [run_program(target, program, cpu=cpu) for cpu in (*own, *cpus)]


@pytest.mark.parametrize(("name", "compiler"), [*ONCE, *HOSTS, *CLANG_HOSTS])
def test_kernels_same_bits_as_reference(name, compiler, tmp_path):
    target = target_or_skip(name, compiler)
    program = build_program(target, compiler, tmp_path / "compare", [HERE / "compare.c"], with_reference=True)
    assert all("mmoe_crc32 200" in output for output in run_on_every_cpu(target, program))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("optimize", ["-O3", "-Os"])
@pytest.mark.parametrize(("name", "compiler"), [*EMULATED, *HOSTS, *CLANG_HOSTS])
def test_kernels_same_bits_as_reference_at_length(name, compiler, optimize, seed, tmp_path):
    target = target_or_skip(name, compiler)
    program = build_program(
        target, compiler, tmp_path / "compare", [HERE / "compare.c"], with_reference=True, optimize=optimize,
        defines=("-DCASES=2000", f"-DSEED={seed + 2}"),
    )  # fmt: skip
    assert all("mmoe_crc32 2000" in output for output in run_on_every_cpu(target, program))


@pytest.mark.parametrize(
    ("name", "compiler"),
    [*HOSTS, *(p for p in EMULATED if p.id in ("qemu_mps3_an547-arm-none-eabi-gcc", "qemu_mps2_an500-zig"))],
)
def test_kernels_stay_inside_their_buffers(name, compiler, tmp_path):
    target = target_or_skip(name, compiler)
    program = build_program(target, compiler, tmp_path / "guard", [HERE / "guard.c"])
    assert all("guard ok" in output for output in run_on_every_cpu(target, program))
    overrun = build_program(target, compiler, tmp_path / "overrun", [HERE / "guard.c"], defines=("-DOVERRUN",))
    with pytest.raises(DeviceError):
        run_program(target, overrun)


@pytest.mark.gcc
@pytest.mark.parametrize("program", ["compare.c", "guard.c"])
@pytest.mark.parametrize(
    ("allowed", "needs"),
    [
        ("MMOE_X86_AVX2 | MMOE_X86_VNNI | MMOE_X86_CLMUL", "avx512_vnni"),
        ("MMOE_X86_AVX2", "avx2"),
        ("0", ""),
    ],
)
def test_kernels_under_sanitizers(program, allowed, needs, tmp_path):
    target = target_or_skip("host_x86_64", "gcc")
    if needs not in Path("/proc/cpuinfo").read_text():
        pytest.skip(f"this CPU has no {needs}")
    flags = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g", f"-DMMOE_X86_ALLOWED=({allowed})")
    built = build_program(target, "gcc", tmp_path / program, [HERE / program], with_reference=True, flags=flags,
                          optimize="-O1")  # fmt: skip
    run_program(target, built)


@pytest.mark.gcc
def test_reference_alone_compiles_for_the_host(tmp_path):
    target_or_skip("host_x86_64", "gcc")
    objects = subprocess.run(
        ["gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-O2", "-c", f"-I{kernels_dir() / 'include'}",
         *map(str, (kernels_dir() / "reference").glob("*.c"))],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert objects.returncode == 0, objects.stderr


def test_every_fast_kernel_has_a_reference():
    names = {path.name for path in (kernels_dir() / "reference").glob("*.c")}
    for folder in ("dsp", "mve", "neon", "vector", "x86"):
        assert {path.name for path in (kernels_dir() / folder).glob("*.c")} <= names


def test_every_reference_file_is_named_after_its_function():
    for path in (kernels_dir() / "reference").glob("*.c"):
        assert f"{path.stem}(" in path.read_text(), path.name


def test_mve_replaces_every_dsp_file_that_knows_the_vector_layout():
    layout = {"mmoe_quantize_s8.c", "mmoe_query_s8.c", "mmoe_softmax_s16.c", "mmoe_sums_s8.c", "mmoe_sums_s16.c",
              "mmoe_sums_s4g32.c", "mmoe_matmul_s8.c", "mmoe_matmul_s4g32.c", "mmoe_attend_s8.c", "mmoe_swiglu_s8.c"}  # fmt: skip
    dsp, mve = ({path.name for path in (kernels_dir() / folder).glob("*.c")} for folder in ("dsp", "mve"))
    assert layout <= dsp
    assert layout <= mve
