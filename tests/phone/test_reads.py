"""Reads of paged experts in the background: in order, ended with the delegate, and no data race."""

import subprocess
from pathlib import Path

import pytest

from mmoe_embed.resources import firmware_dir, kernels_dir

pytestmark = pytest.mark.gcc


def test_reads_under_the_thread_sanitizer(tmp_path: Path) -> None:
    port, program = firmware_dir() / "ports" / "executorch", tmp_path / "reads"
    includes = [f"-I{folder}" for folder in (port, firmware_dir() / "include", kernels_dir() / "include")]
    command = ["g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-O1", "-fsanitize=thread", "-DMMOE_READS=4", *includes]
    sources = [Path(__file__).parent / "c" / "reads.cpp", port / "reader.cpp"]
    subprocess.run([*command, *map(str, sources), "-o", str(program), "-lpthread"], check=True, timeout=120)
    done = subprocess.run([program], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stdout + done.stderr
