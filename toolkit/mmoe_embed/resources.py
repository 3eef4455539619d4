"""Where the C sources and the board files are: inside the wheel, or in the checkout."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parents[1]


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
