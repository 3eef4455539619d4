"""The weights outside the experts, packed one after the other, each part with the C symbol it is emitted under."""

import dataclasses

import numpy as np

from mmoe_embed.experts import pack
from mmoe_embed.pack import BLOCK_BYTES, INTERLEAVED_ROWS, count_blocks
from mmoe_embed.quantized import Quantized

_ALIGNMENT = 16  # bytes; every part starts at a multiple


@dataclasses.dataclass(frozen=True)
class Symbol:
    """One const array in flash.

    Attributes:
        c_type: "int8_t", "uint8_t" or "float".
        comment: type and shape, as the emitted C says it.
    """

    name: str
    c_type: str
    offset: int
    size_bytes: int
    comment: str


@dataclasses.dataclass(frozen=True)
class Weights:
    """weights.bin and what lies where in it."""

    data: bytes
    symbols: tuple[Symbol, ...]


def symbol_name(name: str) -> str:
    """The C name of a matrix or tensor: `layers.0.qkv` is `layers_0_qkv`."""
    return name.replace(".", "_")


def count_weights_bytes(model: Quantized) -> int:
    """Length of `build_weights(model).data`, without packing anything."""
    total = 0
    for name, matrix in model.matrices.items():
        if ".experts." in name:
            continue
        rows, blocks = _padded(matrix.rows, INTERLEAVED_ROWS), count_blocks(matrix.columns, matrix.bits)
        groups = [rows * blocks] if matrix.bits == 4 else []
        for size in (rows * blocks * BLOCK_BYTES, *groups, 4 * rows):
            total = _padded(total, _ALIGNMENT) + size
    for tensor in model.floats.values():
        total = _padded(total, _ALIGNMENT) + 4 * tensor.size
    return total


def _padded(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


def build_weights(model: Quantized) -> Weights:
    """Pack every matrix and float tensor that is not part of a routed expert; each part starts at a multiple of 16."""
    data, symbols = bytearray(), []

    def append(name: str, c_type: str, part: bytes, comment: str) -> None:
        data.extend(bytes(-len(data) % _ALIGNMENT))
        symbols.append(Symbol(symbol_name(name), c_type, len(data), len(part), comment))
        data.extend(part)

    for name, matrix in model.matrices.items():
        if ".experts." in name:
            continue
        packed = pack(matrix)
        kind = "int8_t" if matrix.bits == 8 else "uint8_t"
        append(name + "_weights", kind, packed.weights, f"INT{matrix.bits} ({matrix.rows}, {matrix.columns}), packed")
        if packed.group_scales:
            append(
                name + "_group_scales",
                "uint8_t",
                packed.group_scales,
                f"uint8 ({matrix.rows}, {-(-matrix.columns // 32)})",
            )
        append(name + "_row_scales", "float", packed.row_scales, f"float ({matrix.rows})")
    for name, tensor in model.floats.items():
        shape = ", ".join(str(n) for n in tensor.shape)
        append(name, "float", np.ascontiguousarray(tensor, "<f4").tobytes(), f"float ({shape})")
    return Weights(bytes(data), tuple(symbols))
