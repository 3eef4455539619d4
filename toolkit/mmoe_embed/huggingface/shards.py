"""The tensors of a directory: one safetensors file, or the shards that an index names."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from mmoe_embed.config import parse_json
from mmoe_embed.errors import ToolkitError
from mmoe_embed.huggingface.int4 import pack, packed_names, unpack
from mmoe_embed.tensors import Array, TensorFile, TensorKind, create_tensors, narrow, widen

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"


def list_shards(folder: Path) -> list[Path]:
    """The weight files of a directory.

    Raises:
        ToolkitError: there are none, or one that the index names is missing.
    """
    index = folder / INDEX
    if not index.is_file():
        if (folder / WEIGHTS).is_file():
            return [folder / WEIGHTS]
        others = sorted(p.name for p in folder.iterdir() if p.suffix in (".bin", ".pt", ".pth", ".gguf"))
        raise ToolkitError(
            f"no {WEIGHTS} and no {INDEX} in {folder}" + (f", only {others[0]}" if others else ""),
            at=str(folder),
            try_="load it with transformers and call save_pretrained(FOLDER, safe_serialization=True)",
        )
    table = parse_json(index.read_bytes(), str(index)).get("weight_map")
    names = sorted(set(table.values())) if isinstance(table, dict) else []
    if not names or not all(isinstance(name, str) and "/" not in name for name in names):
        raise ToolkitError("the index has no weight_map of file names", at=str(index), try_="copy the directory again")
    for name in names:
        if not (folder / name).is_file():
            raise ToolkitError(
                f"shard {name} is missing ({len(names)} in all)", at=str(index), try_="copy the directory again"
            )
    return [folder / name for name in names]


class Shards:
    """Tensors of several files by name. Where a float tensor is asked for that lies there in INT4, it is unpacked.

    Attributes:
        kinds: of every tensor, as stored.
    """

    def __init__(self, files: Mapping[str, TensorFile]) -> None:
        self._files = {name: file for file in files.values() for name in file.kinds}
        self.kinds: dict[str, TensorKind] = {name: file.kinds[name] for name, file in self._files.items()}

    @staticmethod
    def open(folder: Path) -> "Shards":
        """Of a directory."""
        return Shards({file.name: TensorFile(file) for file in list_shards(folder)})

    def stored(self, name: str) -> tuple[str, ...]:
        """The tensors that hold a float tensor: itself, or INT4 integers and scales; none where it is not there."""
        packed = packed_names(name)
        for names in ((name,), (packed.integers, packed.scales)):
            if all(one in self.kinds for one in names):
                return names
        return ()

    def kind(self, name: str) -> TensorKind:
        """Type and shape of a float tensor as `read` gives it."""
        first = self.kinds[self.stored(name)[0]]
        return first if len(self.stored(name)) == 1 else TensorKind("F32", (*first.shape[:-1], 2 * first.shape[-1]))

    def read(self, name: str) -> Array:
        """A float tensor as stored (bfloat16 as its bits), or float32 from INT4."""
        arrays = [self._files[stored].array(stored) for stored in self.stored(name)]
        return arrays[0] if len(arrays) == 1 else unpack(*arrays)

    def blank(self, name: str) -> Array:
        """An array to be filled and given to `write`: the tensor itself, or float32 for INT4."""
        stored = self.stored(name)
        if len(stored) == 1:
            return self._files[name].array(name, writable=True)
        return np.zeros(self.kind(name).shape, np.float32)

    def write(self, name: str, values: Array, scales: Array) -> None:
        """Pack a filled `blank` into INT4 with these scales."""
        integers, own_scales = self.stored(name)
        self._files[integers].array(integers, writable=True)[...] = pack(values, scales)
        self._files[own_scales].array(own_scales, writable=True)[...] = scales

    def is_packed(self, name: str) -> bool:
        """Whether a float tensor lies there in INT4."""
        return len(self.stored(name)) == 2


@contextlib.contextmanager
def create_shards(folder: Path, headers: Mapping[str, bytes]) -> Iterator[Shards]:
    """Files of these headers, to be filled; they have their names when all is done."""
    with contextlib.ExitStack() as stack:
        files = {name: stack.enter_context(create_tensors(folder / name, header)) for name, header in headers.items()}
        yield Shards(files)


def convert(values: Array, have: str, want: str) -> Array:
    """Stored values of one float type as those of another."""
    return values if have == want else narrow(widen(values, have), want)
