"""A program under a limit of memory: a cgroup of its own, in which the page cache counts too."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from mmoe_embed.errors import ToolkitError

_V1, _V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")


@contextlib.contextmanager
def limit_memory(size_bytes: int | None) -> Iterator[list[str]]:
    """A cgroup of so many bytes without swap; yields what to put before a command to run it inside.

    Args:
        size_bytes: None sets no limit.

    Raises:
        ToolkitError: this machine, or this user, cannot make one.
    """
    if size_bytes is None:
        yield []
        return
    root, name = (_V1, "memory.limit_in_bytes") if _V1.is_dir() else (_V2, "memory.max")
    group = root / f"mmoe_embed_{os.getpid()}"
    try:
        group.mkdir()
        (group / name).write_text(str(size_bytes))
        for swap in ("memory.swap.max", "memory.swappiness"):
            if (group / swap).exists():
                (group / swap).write_text("0")
    except OSError as error:
        with contextlib.suppress(OSError):
            group.rmdir()
        raise ToolkitError(
            f"no limit of memory can be set here: {error.strerror}",
            at=str(group),
            try_="run as root, or without --limit",
        ) from None
    try:
        yield ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh"]
    finally:
        _remove(group)


def _remove(group: Path) -> None:
    for _ in range(50):  # its process has ended, which the kernel may not have noted yet
        with contextlib.suppress(OSError):
            group.rmdir()
            return
        time.sleep(0.02)


def drop_from_cache(file: Path) -> None:
    """Forget a file's pages, so that whoever reads it next is charged for them."""
    handle = os.open(file, os.O_RDONLY)
    try:
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(handle)
