"""The C operators as a shared library for an ExecuTorch runtime, and the C++ program that runs models with them."""

import platform
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from mmoe_embed.board import load_board
from mmoe_embed.errors import ToolchainError
from mmoe_embed.resources import firmware_dir
from mmoe_embed.toolchain import kernel_folders

_CMAKE_TIMEOUT_S = 900  # of one call; some twenty files on a busy machine
_LIBRARY, _RUNNER = "mmoe_executorch", "mmoe_runner"
_THIS_MACHINE = "linux_aarch64" if platform.machine() in ("aarch64", "arm64") else "host_x86_64"


def build_operators(folder: Path) -> Path:
    """Build `firmware/ports/executorch` with CMake against the installed ExecuTorch; what did not change is kept.

    Args:
        folder: the build folder.

    Returns:
        The library, for `ctypes.CDLL` before a program is loaded.

    Raises:
        ToolchainError: no CMake, no compiler, or the build failed.
    """
    return _build(folder, _LIBRARY) / f"lib{_LIBRARY}.so"


def build_runner(
    folder: Path, board: str = _THIS_MACHINE, package: Path | None = None, settings: tuple[str, ...] = ()
) -> Path:
    """Build the C++ program of `firmware/ports/executorch/runner`, with the operators beside it.

    Args:
        folder: the build folder.
        board: a host's board, which says what kernels its core takes.
        package: the folder `executorch` of a wheel for that board; None is the installed one.
        settings: more of CMake's, e.g. -DCMAKE_TOOLCHAIN_FILE=... to compile for another machine.

    Raises:
        ToolchainError: as build_operators.
    """
    return _build(folder, _RUNNER, board, package, settings) / "runner" / _RUNNER


def _build(
    folder: Path, target: str, board: str = _THIS_MACHINE, package: Path | None = None, settings: tuple[str, ...] = ()
) -> Path:
    beside = Path(sys.executable).with_name("cmake")
    cmake = str(beside) if beside.exists() else shutil.which("cmake")
    if cmake is None:
        raise ToolchainError("CMake is missing", try_="pip install cmake")
    sdk = (package or installed_package()) / "share" / "cmake"
    configure = [cmake, "-S", str(firmware_dir() / "ports" / "executorch"), "-B", str(folder), *settings]
    configure += [f"-DCMAKE_PREFIX_PATH={sdk}", "-DCMAKE_BUILD_TYPE=Release"]
    configure += [f"-DMMOE_KERNEL_FOLDERS={';'.join(kernel_folders(load_board(board)))}"]
    for command in (configure, [cmake, "--build", str(folder), "--target", target]):
        _run_cmake(command, folder)
    return folder


def _run_cmake(command: list[str], folder: Path) -> None:
    advice = f"CMake 3.28 or newer (pip install cmake) and a C++17 compiler; or without the folder {folder}"
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_CMAKE_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        late = f"the operators for ExecuTorch were not built in {_CMAKE_TIMEOUT_S} s"
        raise ToolchainError(late, at=" ".join(command[:3]), try_=advice) from None
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-12:]
        raise ToolchainError(
            "the operators for ExecuTorch could not be built:\n" + "\n".join(last),
            at=" ".join(command[:3]),
            try_=advice,
        )


def installed_package() -> Path:
    """The folder `executorch` of this environment.

    Raises:
        ToolchainError: there is none.
    """
    package = find_spec("executorch.exir")
    if package is None or package.origin is None:
        raise ToolchainError("ExecuTorch is not installed", try_="pip install 'mmoe-embed[phone]'")
    return Path(package.origin).parents[1]
