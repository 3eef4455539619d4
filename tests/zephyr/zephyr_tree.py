"""A west workspace with Zephyr in it, made beside a tree that is already there."""

import dataclasses
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "firmware" / "zephyr"
SAMPLE = ROOT / "examples" / "zephyr_watch"
SUITES = ROOT / "tests" / "zephyr" / "suites"
SERIAL_BOARD = ROOT / "tests" / "zephyr" / "serial_board"
UPDATES_OVERLAY = ROOT / "tests" / "zephyr" / "updates.overlay"
MMOE_EMBED = Path(sys.executable).parent / "mmoe-embed"

_CMSIS = Path("modules/hal/cmsis_6")
_MANIFEST = f"""
manifest:
  projects:
    - {{name: zephyr, url: "file:///nowhere", west-commands: scripts/west-commands.yml}}
    - {{name: cmsis_6, url: "file:///nowhere", path: {_CMSIS}}}
    - {{name: mmoe-embed, url: "file:///nowhere", west-commands: firmware/zephyr/west-commands.yml}}
"""


@dataclasses.dataclass(frozen=True)
class Workspace:
    """As `west init -l app; west update` leaves one; this repository is the project mmoe-embed."""

    top: Path
    python: Path

    @property
    def environment(self) -> dict[str, str]:
        """Debian's GCC, unless another toolchain was chosen."""
        chosen = {"ZEPHYR_TOOLCHAIN_VARIANT": "gnuarmemb", "GNUARMEMB_TOOLCHAIN_PATH": "/usr"}
        path = os.pathsep.join([str(self.python.parent), os.environ["PATH"]])
        ours = {"PATH": path, "ZEPHYR_BASE": str(self.top / "zephyr"), "MMOE_EMBED_PROGRAM": str(MMOE_EMBED)}
        return chosen | dict(os.environ) | ours

    def west(self, *arguments: str | Path, succeeds: bool = True, **environment: str) -> str:
        """Run a command of west to its end, at the top of the workspace.

        Returns:
            all that it said; that is part of a failure too.
        """
        done = subprocess.run(
            [self.python, "-m", "west", *map(str, arguments)],
            cwd=self.top,
            env=self.environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=2400,
            check=False,
        )
        assert (done.returncode == 0) == succeeds, f"west {arguments}\n{done.stdout[-8000:]}"
        return done.stdout

    def build(self, name: str, *arguments: str | Path) -> Path:
        """`west mmoe-build`; returns the folder that `mmoe-embed` takes."""
        folder = self.top / "build" / name
        self.west("mmoe-build", "-d", folder, *arguments)
        return folder / "mmoe_embed"


def make_workspace(top: Path, base: Path, python: Path) -> Workspace:
    """Hard links to a tree and to CMSIS beside it, where west puts it: west looks for a workspace above a tree's own path."""
    _link(base, top / "zephyr")
    _link(base.parent / _CMSIS, top / _CMSIS)
    (top / "mmoe-embed").symlink_to(ROOT)
    (top / ".west").mkdir()
    (top / ".west" / "config").write_text("[manifest]\npath = app\nfile = west.yml\n[zephyr]\nbase = zephyr\n")
    (top / "app").mkdir()
    (top / "app" / "west.yml").write_text(_MANIFEST)
    return Workspace(top, python)


def _link(tree: Path, to: Path) -> None:
    shutil.copytree(tree, to, symlinks=True, copy_function=_link_or_copy, ignore=_ignore_git)
    for command in (["init", "-q"], ["read-tree", "--empty"]):  # a project of west is a clone
        subprocess.run(["git", "-C", to, *command], check=True, timeout=60)


def _link_or_copy(source: str, to: str) -> None:
    try:
        os.link(source, to)
    except OSError:  # another file system
        shutil.copy2(source, to)


def _ignore_git(_folder: str, names: Sequence[str]) -> set[str]:
    return {".git"}.intersection(names)
