"""The expert image: every expert's matrices, packed, aligned and checksummed, contiguous in flash (SPEC.md 6)."""

import dataclasses
import struct
import zlib
from collections.abc import Sequence

from mmoe_embed.pack import PackedMatrix, pack_matrix
from mmoe_embed.quantized import Matrix, Quantized

MAGIC = b"MMOE"
VERSION = 1
HEADER_BYTES = 64
ENTRY_BYTES = 12
MAX_IMAGE_BYTES = 0xFFFFFFFF


@dataclasses.dataclass(frozen=True)
class PageMatrix:
    """One of an expert's two matrices: its size and its byte offsets inside the page."""

    rows: int
    columns: int
    bits: int
    weights: int
    group_scales: int
    row_scales: int


@dataclasses.dataclass(frozen=True)
class ExpertPage:
    """The layout that all experts of a model share."""

    gate_up: PageMatrix
    down: PageMatrix
    size_bytes: int


def pack(matrix: Matrix) -> PackedMatrix:
    """Pack a quantized matrix as the kernels read it (SPEC.md 5)."""
    return pack_matrix(matrix.q, matrix.scale, matrix.group)


def _append(blob: bytearray, matrix: Matrix) -> PageMatrix:
    packed = pack(matrix)
    offsets = []
    for part, alignment in ((packed.weights, 16), (packed.group_scales, 4), (packed.row_scales, 4)):
        blob += bytes(-len(blob) % alignment)
        offsets.append(len(blob))
        blob += part
    return PageMatrix(matrix.rows, matrix.columns, matrix.bits, *offsets)


def pack_expert(model: Quantized, layer: int, expert: int) -> tuple[bytes, ExpertPage]:
    """The bytes of one expert, and where its parts lie."""
    blob = bytearray()
    name = f"layers.{layer}.experts.{expert}."
    gate_up, down = (_append(blob, model.matrices[name + part]) for part in ("gate_up", "down"))
    blob += bytes(-len(blob) % 16)
    return bytes(blob), ExpertPage(gate_up, down, len(blob))


def expert_page(model: Quantized) -> ExpertPage | None:
    """The layout of every expert; None for a dense model."""
    return pack_expert(model, 0, 0)[1] if model.config.num_experts else None


def image_size_bytes(experts: int, expert_bytes: int, alignment: int) -> int:
    """Bytes of the image of `experts` experts."""
    stride = -(-expert_bytes // alignment) * alignment
    first = -(-(HEADER_BYTES + ENTRY_BYTES * experts) // alignment) * alignment
    return first + (experts - 1) * stride + expert_bytes


def build_image(model: Quantized, alignment: int, order: Sequence[int] = ()) -> bytes:
    """The whole expert image.

    Args:
        model: a model with experts.
        alignment: of every page, a power of two >= 16; the flash's page size.
        order: numbers of all experts as their pages follow each other; rising when empty.
    """
    config = model.config
    pages = [
        pack_expert(model, layer, expert)[0]
        for layer in range(config.num_hidden_layers)
        for expert in range(config.num_experts)
    ]
    total = image_size_bytes(len(pages), len(pages[0]), alignment)
    header = struct.pack(
        "<4sHHIIII32sI",
        MAGIC,
        VERSION,
        HEADER_BYTES,
        len(pages),
        alignment,
        total,
        len(pages[0]),
        bytes.fromhex(model.model_id),
        0,
    )
    image = bytearray(header + struct.pack("<I", zlib.crc32(header)))
    image += bytes(ENTRY_BYTES * len(pages))
    for number in order or range(len(pages)):
        page = pages[number]
        image += b"\xff" * (-len(image) % alignment)
        struct.pack_into("<III", image, HEADER_BYTES + ENTRY_BYTES * number, len(image), len(page), zlib.crc32(page))
        image += page
    return bytes(image)
