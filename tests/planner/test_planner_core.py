"""The C core under both compilers and the sanitizers, on random problems with limits that cut it short."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

CORE = Path(__file__).resolve().parents[2] / "memory_planner" / "core"
FLAGS = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", f"-I{CORE}"]


@pytest.mark.gcc
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_core_compiles_without_warnings(compiler: str, tmp_path: Path) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"needs {compiler}")
    for source in sorted(CORE.glob("*.c")):
        subprocess.run([compiler, *FLAGS, "-O2", "-c", str(source), "-o", str(tmp_path / "x.o")], check=True)


@pytest.mark.gcc
def test_core_random_problems_pass_the_sanitizers(tmp_path: Path) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    program = tmp_path / "fuzz"
    sources = [str(path) for path in sorted(CORE.glob("*.c"))]
    fuzz = str(Path(__file__).with_name("fuzz_core.c"))
    sanitize = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    subprocess.run(["gcc", *FLAGS, *sanitize, *sources, fuzz, "-o", str(program)], check=True)
    done = subprocess.run([str(program), "1500"], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "1500 problems" in done.stdout
