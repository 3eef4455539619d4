"""The compiled core, through ctypes."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
import warnings
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from memory_planner.errors import MissingLibraryError

ABI = 4
Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
Float64s = npt.NDArray[np.float64]

RUNNING, FOUND, NONE = 0, 1, 2
STOPPED = -3
KEYS = {"W": 1, "A": 2, "T": 3, "S": 4, "L": 5, "U": 6, "R": 7, "D": 8, "V": 9}


def library_paths() -> list[Path]:
    """Where the core may lie: named by MEMORY_PLANNER_LIBRARY, beside this file, or in an installed copy.

    The last matters when Python runs in a checkout: its sources come first, the library lies in the installed
    package further down sys.path.
    """
    named = os.environ.get("MEMORY_PLANNER_LIBRARY")
    if named:
        return [Path(named)]
    name = "_core.dll" if sys.platform == "win32" else "_core.dylib" if sys.platform == "darwin" else "_core.so"
    folders = [Path(__file__).parent, *(Path(entry or ".") / "memory_planner" for entry in sys.path)]
    return [folder / name for folder in folders]


@cache
def load_library() -> ctypes.CDLL:
    """Load the core once.

    Raises:
        MissingLibraryError: it was not built, or is of another version.
    """
    for path in library_paths():
        if path.is_file():
            library = ctypes.CDLL(str(path))
            if library.mp_abi() == ABI:
                declare(library)
                return library
            warnings.warn(
                f"{path} is of another version ({library.mp_abi()}, needs {ABI}) and is not used: install the package "
                "again, else plans are slow and rarely proven",
                RuntimeWarning,
                stacklevel=2,
            )
    raise MissingLibraryError(
        "the compiled core is missing or of another version: install the package (pip install .), "
        "or name the library in MEMORY_PLANNER_LIBRARY"
    )


@cache
def is_available() -> bool:
    try:
        load_library()
    except (MissingLibraryError, OSError):
        return False
    return True


def declare(library: ctypes.CDLL) -> None:
    longs = np.ctypeslib.ndpointer(np.int64, flags="C_CONTIGUOUS")
    doubles = np.ctypeslib.ndpointer(np.float64, flags="C_CONTIGUOUS")
    ints = np.ctypeslib.ndpointer(np.int32, flags="C_CONTIGUOUS")
    handle, i32, i64, u32 = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64, ctypes.c_uint32
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "mp_instance_create": (handle, [i32, longs, longs, longs, longs, longs, doubles, i64, u32]),
        "mp_instance_destroy": (None, [handle]),
        "mp_instance_load": (i64, [handle]),
        "mp_instance_section_count": (i32, [handle]),
        "mp_search_create": (handle, [handle, i64, ctypes.c_int, u32, u32, u32]),
        "mp_search_destroy": (None, [handle]),
        "mp_search_run": (ctypes.c_int, [handle, i64, ctypes.POINTER(i32)]),
        "mp_search_nodes": (i64, [handle]),
        "mp_search_offsets": (None, [handle, longs]),
        "mp_first_fit": (
            i64,
            [i32, longs, longs, longs, longs, longs, ints, ctypes.c_int, ctypes.POINTER(i32), longs],
        ),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments


class StoppedError(Exception):
    """An alarm rang in the middle of a placement. Never leaves the package."""


class Alarm:
    """Ends a search when its time is over, or within a tenth of a second after `stop` is set. As a context manager it
    also raises the flag that the core looks at.

    Args:
        seconds: from now; infinity never ends.
    """

    def __init__(self, seconds: float, stop: threading.Event | None = None) -> None:
        self.end = time.perf_counter() + seconds
        self.stop = stop
        self.flag = ctypes.c_int32(0)
        self.done = threading.Event()

    @property
    def rang(self) -> bool:
        if self.flag.value == 0 and (self.seconds_left <= 0 or (self.stop is not None and self.stop.is_set())):
            self.flag.value = 1
        return self.flag.value != 0

    @property
    def seconds_left(self) -> float:
        return self.end - time.perf_counter()

    def within(self, seconds: float) -> Alarm:
        """One that rings with this one, but no later than after so many seconds."""
        return Alarm(min(seconds, self.seconds_left), self.stop)

    def watch(self) -> None:
        while not self.rang and not self.done.wait(max(0.0, min(0.1, self.seconds_left))):
            pass

    def __enter__(self) -> Alarm:
        threading.Thread(target=self.watch, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.flag.value = 1
        self.done.set()


class Instance:
    """Sections and neighbours of a set of buffers, in the core's memory."""

    def __init__(
        self,
        lower: Int64s,
        upper: Int64s,
        size: Int64s,
        alignment: Int64s,
        pin: Int64s,
        span: Float64s,
        memory_limit: int,
        mask: int,
    ) -> None:
        self.library = load_library()
        self.count = len(size)
        self.handle = self.library.mp_instance_create(
            self.count, lower, upper, size, alignment, pin, span, memory_limit, mask
        )
        if not self.handle:
            raise MemoryError(f"{self.count} buffers do not fit the planner's memory limit of {memory_limit} B")

    @property
    def load(self) -> int:
        return int(self.library.mp_instance_load(self.handle))

    @property
    def section_count(self) -> int:
        return int(self.library.mp_instance_section_count(self.handle))

    def __del__(self) -> None:
        if getattr(self, "handle", None):
            self.library.mp_instance_destroy(self.handle)
            self.handle = None


class Search:
    """One exhaustive search for a packing of at most `capacity`; keeps its state between slices."""

    def __init__(self, instance: Instance, capacity: int, strategy: int, keys: str, seed: int, mask: int) -> None:
        self.instance = instance
        self.capacity = capacity
        packed = sum(KEYS[key] << (4 * i) for i, key in enumerate(keys))
        self.handle = instance.library.mp_search_create(instance.handle, capacity, strategy, packed, seed, mask)
        if not self.handle:
            raise MemoryError("the search does not fit the planner's memory limit")

    def run(self, nodes: int, alarm: Alarm) -> int:
        verdict = int(self.instance.library.mp_search_run(self.handle, nodes, ctypes.byref(alarm.flag)))
        if verdict < 0:
            raise MemoryError("the search ran out of memory")
        return verdict

    @property
    def nodes(self) -> int:
        return int(self.instance.library.mp_search_nodes(self.handle))

    def offsets(self) -> Int64s:
        result = np.empty(self.instance.count, np.int64)
        self.instance.library.mp_search_offsets(self.handle, result)
        return result

    def __del__(self) -> None:
        if getattr(self, "handle", None):
            self.instance.library.mp_search_destroy(self.handle)
            self.handle = None


def first_fit(
    lower: Int64s,
    upper: Int64s,
    size: Int64s,
    alignment: Int64s,
    pin: Int64s,
    order: Int32s,
    best_fit: bool = False,
    alarm: Alarm | None = None,
) -> tuple[int, Int64s]:
    """Place the buffers in the given order, pinned ones first; returns (peak, offsets).

    Raises:
        StoppedError: the alarm rang.
    """
    offset = np.empty(len(size), np.int64)
    order = np.ascontiguousarray(order, np.int32)
    flag = None if alarm is None else ctypes.byref(alarm.flag)
    peak = int(
        load_library().mp_first_fit(len(size), lower, upper, size, alignment, pin, order, int(best_fit), flag, offset)
    )
    if peak == STOPPED:
        raise StoppedError
    if peak < 0:
        raise MemoryError("first fit ran out of memory")
    return peak, offset
