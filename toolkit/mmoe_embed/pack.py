"""Matrices in the order the kernels read them (SPEC.md 5)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

INTERLEAVED_ROWS = 4
BLOCK_BYTES = 16  # of one row
GROUP_COLUMNS = 32


@dataclass(frozen=True)
class PackedMatrix:
    """The three arrays of one matrix; group_scales is empty for INT8."""

    weights: bytes
    group_scales: bytes
    row_scales: bytes


def count_blocks(columns: int, bits: int) -> int:
    """Blocks of BLOCK_BYTES that a row takes."""
    return -(-columns // (GROUP_COLUMNS if bits == 4 else BLOCK_BYTES))


def pack_matrix(
    q: npt.NDArray[np.int8], scale: npt.NDArray[np.float32], group: npt.NDArray[np.uint8] | None
) -> PackedMatrix:
    """Lay a quantized matrix out for the kernels.

    Args:
        q: int8 (R, C); -8..7 when group is given.
        scale: f32 (R).
        group: uint8 (R, ceil(C/32)) for INT4, None for INT8.
    """
    rows, columns = q.shape
    padded_rows = -(-rows // INTERLEAVED_ROWS) * INTERLEAVED_ROWS
    block_columns = BLOCK_BYTES if group is None else GROUP_COLUMNS
    blocks = count_blocks(columns, 8 if group is None else 4)
    padded = np.zeros((padded_rows, blocks * block_columns), np.int8)
    padded[:rows, :columns] = q
    group_bytes = b""
    if group is not None:
        # uint8 (row, block, word of 8, plane, byte); the low plane is the first four columns of a word
        nibbles = padded.view(np.uint8).reshape(padded_rows, blocks, 4, 2, 4) & 0x0F
        padded_group = np.zeros((padded_rows, blocks), np.uint8)
        padded_group[:rows] = group
        group_bytes = padded_group.reshape(-1, INTERLEAVED_ROWS, blocks).transpose(0, 2, 1).tobytes()
        stored = nibbles[:, :, :, 0] | nibbles[:, :, :, 1] << 4
    else:
        stored = padded.view(np.uint8)
    tiles = stored.reshape(-1, INTERLEAVED_ROWS, blocks, BLOCK_BYTES).transpose(0, 2, 1, 3)
    row_scales = np.zeros(padded_rows, "<f4")
    row_scales[:rows] = scale
    return PackedMatrix(tiles.tobytes(), group_bytes, row_scales.tobytes())


def packed_bytes(rows: int, columns: int, bits: int) -> int:
    """Bytes of the three arrays of a matrix of INT8 or INT4."""
    padded_rows = -(-rows // INTERLEAVED_ROWS) * INTERLEAVED_ROWS
    block_columns, group_bytes = (BLOCK_BYTES, 0) if bits == 8 else (GROUP_COLUMNS, 1)
    return padded_rows * (-(-columns // block_columns) * (BLOCK_BYTES + group_bytes) + 4)
