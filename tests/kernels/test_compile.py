"""Every folder compiles for every core it is for, warnings as errors, with GCC and clang."""

import subprocess
from pathlib import Path

import pytest

from mmoe_embed.bench.image import C_FLAGS, freestanding_flags, has_compiler, kernel_sources
from mmoe_embed.resources import kernels_dir
from mmoe_embed.toolchain import ZIG

MVE, DSP, REFERENCE = ("mve", "dsp", "reference"), ("dsp", "reference"), ("reference",)
# core: folders, GCC's FPU, clang's CPU
CORES = {
    "cortex-m0": (REFERENCE, "", "cortex_m0"),
    "cortex-m0plus": (REFERENCE, "", "cortex_m0plus"),
    "cortex-m3": (REFERENCE, "", "cortex_m3"),
    "cortex-m4": (DSP, "fpv4-sp-d16", "cortex_m4+vfp4d16sp"),
    "cortex-m4+nofp": (DSP, "", "cortex_m4"),
    "cortex-m7": (DSP, "fpv5-d16", "cortex_m7+fp_armv8d16"),
    "cortex-m33": (DSP, "fpv5-sp-d16", "cortex_m33+dsp+fp_armv8d16sp"),
    "cortex-m33+nofp": (DSP, "", "cortex_m33+dsp"),
    "cortex-m55": (MVE, "auto", "cortex_m55+mve_fp"),
    "cortex-m55+nofp": (MVE, "", "cortex_m55+mve"),
    "cortex-m85": (MVE, "auto", "cortex_m85+mve_fp"),
}
# GCC 12.2 does not know the Cortex-M85: its architecture instead
GCC_CPU = {"cortex-m85": "-march=armv8.1-m.main+mve.fp+fp.dp", "cortex-m55+nofp": "-march=armv8.1-m.main+mve"}


# processor: folders, compilers
HOSTS = {
    "x86_64": (("x86", "vector", "reference"), ("gcc", "clang", "zig")),
    "aarch64": (("neon", "vector", "reference"), ("aarch64-linux-gnu-gcc", "zig")),
}


def command(core: str, compiler: str) -> list[str]:
    """The compiler and its flags for a core."""
    _, fpu, zig = CORES[core]
    if compiler == "zig":
        abi = "eabihf" if fpu else "eabi"
        return [*ZIG, "cc", "-target", f"thumb-freestanding-{abi}", f"-mcpu={zig}"]
    abi = ["-mfloat-abi=hard", f"-mfpu={fpu}"] if fpu else ["-mfloat-abi=soft"]
    if core == "cortex-m55+nofp":
        abi = ["-mfloat-abi=hard"]
    cpu = GCC_CPU.get(core, f"-mcpu={core.removesuffix('+nofp')}")
    return [compiler, "-mthumb", cpu, *abi]


@pytest.mark.arm
@pytest.mark.parametrize("compiler", ["arm-none-eabi-gcc", "zig"])
@pytest.mark.parametrize("core", CORES)
def test_kernels_compile_without_warnings(core, compiler, tmp_path):
    if not has_compiler(compiler):
        pytest.skip(f"no {compiler}")
    check_compiles([*command(core, compiler), *map(str, freestanding_flags())], CORES[core][0], tmp_path)


@pytest.mark.gcc
@pytest.mark.parametrize(
    ("processor", "compiler"), [(name, compiler) for name, (_, compilers) in HOSTS.items() for compiler in compilers]
)
def test_host_kernels_compile_without_warnings(processor, compiler, tmp_path):
    if not has_compiler(compiler):
        pytest.skip(f"no {compiler}")
    zig = [*ZIG, "cc", "-target", f"{processor}-linux-musl"]
    check_compiles(zig if compiler == "zig" else [compiler], HOSTS[processor][0], tmp_path)


def check_compiles(driver: list[str], folders: tuple[str, ...], cwd: Path) -> None:
    """Compile all kernels of a target with warnings as errors."""
    done = subprocess.run(
        [*driver, *C_FLAGS, "-Os", f"-I{kernels_dir() / 'include'}", "-c", *map(str, kernel_sources(folders))],
        cwd=cwd, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
