"""Where the C sources and the board files are: inside the wheel, or in the checkout."""

import functools
import hashlib
import tomllib
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parents[1]


def package_dir() -> Path:
    """The Python package itself."""
    return _PACKAGE


def _folder(name: str) -> Path:
    packaged = _PACKAGE / "data" / name
    return packaged if packaged.is_dir() else _CHECKOUT / name


def firmware_dir() -> Path:
    """The C runtime, `firmware/`."""
    return _folder("firmware")


def kernels_dir() -> Path:
    """The C kernels, `kernels_cmsis/`."""
    return _folder("kernels_cmsis")


def boards_dir() -> Path:
    """The board files, `boards/`."""
    return _folder("boards")


def read_source_rules() -> dict[str, Any]:
    """firmware/sources.toml: what a target compiles, and how."""
    return _parse_rules((firmware_dir() / "sources.toml").read_text())


@functools.lru_cache(maxsize=1)
def _parse_rules(text: str) -> dict[str, Any]:
    return tomllib.loads(text)


def source_files() -> list[Path]:
    """The C sources that go into images, and what says how they are built."""
    return [
        file
        for root in (firmware_dir(), kernels_dir())
        for file in sorted(root.rglob("*"))
        if file.suffix in (".c", ".h", ".S", ".j2", ".toml")
    ]


def hash_sources() -> str:
    """sha256 over the C sources that go into every image."""
    digest = hashlib.sha256()
    for file in source_files():
        root = firmware_dir() if firmware_dir() in file.parents else kernels_dir()
        digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
