"""Builds that several tests share."""

import subprocess
from pathlib import Path

import pytest
from emitted import Models, require_tool
from images import FIRMWARE, KERNELS


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return Models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def shared_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pager, tokenizer and a fake port, for ctypes."""
    return build_library(tmp_path_factory.mktemp("library") / "runtime.so", reads=1)


@pytest.fixture(scope="session")
def library_of_three_reads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a port that has three reads at once."""
    return build_library(tmp_path_factory.mktemp("library") / "runtime.so", reads=3)


def build_library(library: Path, reads: int) -> Path:
    """Build it with so many reads at once."""
    require_tool("gcc")
    sources = [
        Path(__file__).parent / "c" / "fake_pager.c",
        FIRMWARE / "src/pager.c",
        FIRMWARE / "src/image.c",
        FIRMWARE / "src/policy.c",
        FIRMWARE / "src/tokenizer.c",
        KERNELS / "reference/mmoe_crc32.c",
        FIRMWARE / "src/divide.c",
    ]
    subprocess.run(
        [
            "gcc",
            "-std=c11",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-pedantic",
            "-O1",
            "-g",
            "-fPIC",
            "-shared",
            "-DMMOE_CHECK_BYTES=16u",
            "-DMMOE_RETAINED",
            f"-DMMOE_READS={reads}",
            f"-I{FIRMWARE / 'include'}",
            f"-I{FIRMWARE / 'src'}",
            f"-I{KERNELS / 'include'}",
            f"-I{KERNELS / 'reference'}",
            *map(str, sources),
            "-o",
            str(library),
        ],
        check=True,
    )
    return library
