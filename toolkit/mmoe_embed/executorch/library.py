"""The C operators as a shared library for this machine's ExecuTorch runtime."""

import platform
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from mmoe_embed.board import load_board
from mmoe_embed.errors import ToolchainError
from mmoe_embed.resources import firmware_dir, kernels_dir
from mmoe_embed.toolchain import kernel_folders


def build_operators(folder: Path) -> Path:
    """Build `firmware/ports/executorch` with CMake against the installed ExecuTorch; what did not change is kept.

    Args:
        folder: the build folder.

    Returns:
        The library, for `ctypes.CDLL` before a program is loaded.

    Raises:
        ToolchainError: no CMake, no compiler, or the build failed.
    """
    beside = Path(sys.executable).with_name("cmake")
    cmake = str(beside) if beside.exists() else shutil.which("cmake")
    if cmake is None:
        raise ToolchainError("CMake is missing", try_="pip install cmake")
    package = find_spec("executorch.exir")
    if package is None or package.origin is None:
        raise ToolchainError("ExecuTorch is not installed", try_="pip install 'mmoe-embed[phone]'")
    sdk = Path(package.origin).parents[1] / "share" / "cmake"
    source = firmware_dir() / "ports" / "executorch"
    board = load_board("linux_aarch64" if platform.machine() in ("aarch64", "arm64") else "host_x86_64")
    folders = ";".join(kernel_folders(board))
    settings = [f"-DKERNELS={kernels_dir()}", f"-DKERNEL_FOLDERS={folders}"]
    settings += [f"-DCMAKE_PREFIX_PATH={sdk}", "-DCMAKE_BUILD_TYPE=Release"]
    for command in ([cmake, "-S", str(source), "-B", str(folder), *settings], [cmake, "--build", str(folder)]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr or done.stdout).strip().splitlines()[-12:]
            raise ToolchainError(
                "the operators for ExecuTorch could not be built:\n" + "\n".join(last),
                at=" ".join(command[:3]),
                try_="CMake 3.28 or newer (pip install cmake) and a C++17 compiler",
            )
    return folder / "libmmoe_executorch.so"
