"""Files that are written whole or not at all."""

import contextlib
import errno
import os
from collections.abc import Iterable
from pathlib import Path


def partial_file(file: Path) -> Path:
    """What a file is called while this process makes it."""
    return file.with_name(f"{file.name}.{os.getpid()}.partial")


def write_whole(file: Path, content: bytes | Iterable[bytes | memoryview]) -> None:
    """Write a file at once; when that fails, what was there before is there still and nothing else.

    A device or a pipe (/dev/stdout, /dev/null) is written to: it must not be replaced by a file.

    Args:
        file: its folder is made where there is none.
        content: all of it, or its pieces.

    Raises:
        OSError: it names the file.
    """
    pieces = [content] if isinstance(content, bytes) else content
    partial = partial_file(file)
    try:
        if _is_special(file):
            with file.open("wb") as stream:
                stream.writelines(pieces)
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as stream:
            stream.writelines(pieces)
        os.replace(partial, file)
    except OSError as error:
        with contextlib.suppress(OSError):  # what failed is said, not that what it left stays
            partial.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(file)) from None  # a full disk says no name


def _is_special(file: Path) -> bool:
    return file.exists() and not file.is_file() and not file.is_dir()


def check_writable(file: Path) -> None:
    """Whether `write_whole` can write a file, found out without it: a file that is there keeps every byte.

    Raises:
        OSError: it names the file.
    """
    if _is_special(file):
        return
    partial = partial_file(file)
    try:
        if file.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        file.parent.mkdir(parents=True, exist_ok=True)
        partial.touch()
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(file)) from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
