"""safetensors files as arrays that lie in them: nothing is read before it is used, nothing stays in memory after.

The library reads whole tensors and knows no bfloat16 in numpy; here bfloat16 is its 16 bits, see `widen`.
"""

import contextlib
import dataclasses
import json
import math
import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmoe_embed.config import parse_json
from mmoe_embed.errors import ToolkitError
from mmoe_embed.whole_file import partial_file

Array = NDArray[Any]
BFLOAT16 = "BF16"
_NUMPY: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    BFLOAT16: np.dtype("<u2"),
    "I64": np.dtype("<i8"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
}
# Data lies in this order, then by name: as the library writes it, so that both give the same bytes
_ORDER = ("I64", "F32", BFLOAT16, "F16", "I8", "U8")
_MOST_HEADER_BYTES = 100_000_000  # the library's own limit


@dataclasses.dataclass(frozen=True)
class TensorKind:
    """Type and shape, by the format's names."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def numpy(self) -> np.dtype[Any]:
        """What an array of it holds; KeyError for types that numpy or this project has no use for."""
        return _NUMPY[self.dtype]

    @property
    def size_bytes(self) -> int:
        """Bytes of the data."""
        return math.prod(self.shape) * self.numpy.itemsize


class TensorFile:
    """A file that was written.

    Attributes:
        header: its bytes between the length and the data.
        kinds: type and shape of every tensor.
        metadata: the file's own.

    Raises:
        ToolkitError: no such file, not a safetensors file, or a damaged one.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        try:
            self.header = _read_header(file)
        except FileNotFoundError:
            raise ToolkitError(f"no file {file.name} in {file.parent}", at=str(file)) from None
        entries = parse_json(self.header, str(file))
        self.metadata: dict[str, str] = entries.pop("__metadata__", None) or {}
        self._offsets: dict[str, int] = {}
        self.kinds: dict[str, TensorKind] = {}
        end = file.stat().st_size - 8 - len(self.header)
        for name, entry in entries.items():
            try:
                kind = TensorKind(str(entry["dtype"]), tuple(int(n) for n in entry["shape"]))
                first, last = (int(n) for n in entry["data_offsets"])
            except (TypeError, KeyError, ValueError):
                raise _damaged(file, f"its header is wrong at {name}") from None
            if not 0 <= first <= last <= end or (kind.dtype in _NUMPY and last - first != kind.size_bytes):
                raise _damaged(file, f"tensor {name} does not lie within it")
            self.kinds[name], self._offsets[name] = kind, 8 + len(self.header) + first

    def array(self, name: str, writable: bool = False) -> Array:
        """The tensor where it lies, mapped; it must be of a type that numpy has (`TensorKind.numpy`)."""
        kind = self.kinds[name]
        if kind.size_bytes == 0:
            return np.zeros(kind.shape, kind.numpy)
        mode: Any = "r+" if writable else "r"
        return np.memmap(self.file, kind.numpy, mode, self._offsets[name], kind.shape)

    def arrays(self) -> dict[str, Array]:
        """All tensors where they lie, in one mapping, not to be written to."""
        whole = np.memmap(self.file, np.uint8, "r")
        return {
            name: whole[start : start + self.kinds[name].size_bytes]
            .view(self.kinds[name].numpy)
            .reshape(self.kinds[name].shape)
            for name, start in self._offsets.items()
        }


def _read_header(file: Path) -> bytes:
    with file.open("rb") as stream:
        start = stream.read(8)
        if start[:2] in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
            raise ToolkitError(
                "this is a pickle or a PyTorch archive under another name; only safetensors is loaded",
                at=str(file),
                try_="a pickle can run code when loaded: convert it with safetensors.torch.save_file",
            )
        size = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= size <= min(_MOST_HEADER_BYTES, file.stat().st_size - 8):
            raise _damaged(file, "it has no header")
        return stream.read(size)


def _damaged(file: Path, what: str) -> ToolkitError:
    return ToolkitError(f"not a safetensors file, or a damaged one: {what}", at=str(file))


def widen(values: Array, dtype: str) -> NDArray[np.float32]:
    """Values of a float tensor as float32, in memory: a bfloat16 is the upper half of one."""
    if dtype == BFLOAT16:
        wide = np.array(values, np.uint32)
        wide <<= 16
        return wide.view(np.float32)
    return np.array(values, np.float32)


def narrow(values: NDArray[np.float32], dtype: str) -> Array:
    """float32 as another float type, to nearest, ties to even."""
    if dtype == BFLOAT16:
        bits = values.view(np.uint32)
        return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
    return values.astype(_NUMPY[dtype])


def tensor_order(kinds: Mapping[str, TensorKind]) -> list[str]:
    """Names in the order in which the tensors lie in a file that the library, or this project, writes."""
    return sorted(kinds, key=lambda name: (_ORDER.index(kinds[name].dtype), name))


def header_bytes(kinds: Mapping[str, TensorKind], metadata: Mapping[str, str]) -> bytes:
    """The header of a file of these tensors: the same bytes as the library's."""
    entries: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    offset = 0
    for name in tensor_order(kinds):
        kind = kinds[name]
        span = [offset, offset + kind.size_bytes]
        entries[name] = {"dtype": kind.dtype, "shape": list(kind.shape), "data_offsets": span}
        offset = span[1]
    text = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % 8)


@contextlib.contextmanager
def create_tensors(file: Path, header: bytes) -> Iterator[TensorFile]:
    """A file to be filled through `TensorFile.array(..., writable=True)`: all zeros at first, under its name when done.

    When that fails, or is interrupted, what was there before is there still and nothing else.

    Raises:
        OSError: there is no room for all of it; it names the file.
    """
    partial = partial_file(file)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as stream:
            stream.write(struct.pack("<Q", len(header)) + header)
            stream.flush()
            ends = [e["data_offsets"][1] for n, e in json.loads(header).items() if n != "__metadata__"]
            # room for all of it now: a mapped write that finds none would be a signal, not an error
            size = 8 + len(header) + max(ends, default=0)
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(stream.fileno(), 0, size)
            else:
                stream.truncate(size)
        yield TensorFile(partial)
        os.replace(partial, file)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(file)) from None
    finally:
        partial.unlink(missing_ok=True)
