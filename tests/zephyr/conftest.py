"""A Zephyr tree, where there is one: ZEPHYR_BASE names it. Its Python (3.12 or newer, with west and what Zephyr's
requirements name) is ours, or the one that ZEPHYR_PYTHON names; CMSIS lies beside the tree, where west puts it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from random_model import small_config, write_checkpoint
from zephyr_tree import Workspace, make_workspace

_CHECK = "import sys, west, elftools, natsort; print(sys.version_info >= (3, 12))"
_TOOLS = ("cmake", "ninja", "dtc", "gperf", "arm-none-eabi-gcc", "qemu-system-arm", "socat")


@pytest.fixture(scope="session")
def zephyr(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Skips by name where there is no tree. A tree whose tools are missing fails: it was asked for."""
    base = os.environ.get("ZEPHYR_BASE")
    if not base:
        pytest.skip("no Zephyr tree: ZEPHYR_BASE is not set (firmware/zephyr/README.md)")
    for tool in _TOOLS:
        assert shutil.which(tool), f"ZEPHYR_BASE is set, but {tool} is not installed"
    python = Path(os.environ.get("ZEPHYR_PYTHON", sys.executable))
    done = subprocess.run([python, "-c", _CHECK], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "True", (
        f"ZEPHYR_BASE is set, but {python} is older than 3.12 or lacks Zephyr's requirements; ZEPHYR_PYTHON names "
        f"another\n{done.stderr}"
    )
    return make_workspace(tmp_path_factory.mktemp("workspace"), Path(base).resolve(), python)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model that fits 64 KiB of RAM."""
    return write_checkpoint(tmp_path_factory.mktemp("model") / "tiny", small_config())
