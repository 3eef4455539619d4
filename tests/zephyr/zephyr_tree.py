"""Builds in a Zephyr tree, as its own build system makes them."""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "firmware" / "zephyr"
SAMPLE = ROOT / "examples" / "zephyr_watch"
SUITES = ROOT / "tests" / "zephyr" / "suites"
UPDATES_OVERLAY = ROOT / "tests" / "zephyr" / "updates.overlay"
MMOE_EMBED = Path(sys.executable).parent / "mmoe-embed"


@dataclasses.dataclass(frozen=True)
class ZephyrTree:
    """What a build needs."""

    base: Path
    python: Path
    folder: Path  # for builds

    @property
    def modules(self) -> str:
        """Value of ZEPHYR_MODULES: without a west workspace the list must be complete."""
        return f"{self.base.parent / 'modules' / 'hal' / 'cmsis_6'};{ROOT}"

    @property
    def environment(self) -> dict[str, str]:
        """Debian's GCC, unless another toolchain was chosen."""
        chosen = {"ZEPHYR_TOOLCHAIN_VARIANT": "gnuarmemb", "GNUARMEMB_TOOLCHAIN_PATH": "/usr"}
        path = os.pathsep.join([str(self.python.parent), os.environ["PATH"]])
        return chosen | dict(os.environ) | {"PATH": path, "ZEPHYR_BASE": str(self.base)}

    def build(self, board: str, source: Path, *options: str, name: str = "") -> Path:
        """Build an application; returns the build folder."""
        folder = self.folder / (name or f"{source.name}-{board.replace('/', '_')}")
        if not (folder / "build.ninja").is_file():
            modules, program = f"-DZEPHYR_MODULES={self.modules}", f"-DMMOE_EMBED={MMOE_EMBED}"
            python = f"-DPython3_EXECUTABLE={self.python}"
            command = ["cmake", "-GNinja", "-S", source, "-B", folder, f"-DBOARD={board}"]
            self.run([*command, modules, program, python, *options])
        self.run(["ninja", "-j2", "-C", folder])
        return folder

    def run(self, command: Sequence[str | Path], timeout_s: float = 1200) -> str:
        """Run to the end; what it said is part of a failure."""
        done = subprocess.run(
            [*map(str, command)], env=self.environment, capture_output=True, text=True, timeout=timeout_s, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
        return done.stdout
