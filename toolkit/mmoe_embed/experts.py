"""The expert image: every expert's matrices, packed, aligned and checksummed, contiguous in flash (SPEC.md 6)."""

import dataclasses
import struct
import zlib
from collections.abc import Sequence

from mmoe_embed.pack import PackedMatrix, pack_matrix
from mmoe_embed.quantized import Matrix, Quantized

MAGIC = b"MMOE"
VERSION = 1
UPDATABLE_VERSION = 2  # with spare pages and copies of the table
HEADER_BYTES = 64
ENTRY_BYTES = 12
COPY_HEADER_BYTES = 32
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
    return pack_expert(model, model.config.routed_layers[0], 0)[1] if model.config.num_experts else None


@dataclasses.dataclass(frozen=True)
class ImageLayout:
    """Where the parts of an expert image lie: bytes from its start.

    Attributes:
        alignment: of every page, a power of two >= 16; with spare pages a multiple of what the flash erases.
        spare_pages: 0 for an image whose experts cannot be replaced.
    """

    experts: int
    expert_bytes: int
    alignment: int
    spare_pages: int = 0

    def _align(self, size_bytes: int) -> int:
        return -(-size_bytes // self.alignment) * self.alignment

    @property
    def stride_bytes(self) -> int:
        """From one page to the next."""
        return self._align(self.expert_bytes)

    @property
    def first_page(self) -> int:
        """Where the pages begin, behind header and table."""
        return self._align(HEADER_BYTES + ENTRY_BYTES * self.experts)

    @property
    def copies(self) -> int:
        """Where the copies of the table begin; 0 where there are none."""
        return self.first_page + self.experts * self.stride_bytes if self.spare_pages else 0

    @property
    def copy_bytes(self) -> int:
        """Of one copy of the table, its header included."""
        return self._align(COPY_HEADER_BYTES + ENTRY_BYTES * self.experts)

    @property
    def size_bytes(self) -> int:
        """Of the whole image."""
        if self.spare_pages:
            return self.copies + 2 * self.copy_bytes + self.spare_pages * self.stride_bytes
        return self.first_page + (self.experts - 1) * self.stride_bytes + self.expert_bytes

    @property
    def pages(self) -> tuple[int, ...]:
        """Every place where a page may lie, the spare ones last."""
        spare = self.copies + 2 * self.copy_bytes
        own = (self.first_page + self.stride_bytes * number for number in range(self.experts))
        return (*own, *(spare + self.stride_bytes * number for number in range(self.spare_pages)))

    def copy_of(self, sequence: int) -> int:
        """Where the copy of the table with that sequence number lies; it is 1 or more."""
        return self.copies + sequence % 2 * self.copy_bytes

    def table_of(self, sequence: int) -> int:
        """Where the table itself lies; 0 is the one behind the header."""
        return self.copy_of(sequence) + COPY_HEADER_BYTES if sequence else HEADER_BYTES


@dataclasses.dataclass(frozen=True)
class Entry:
    """What the table says of one expert."""

    offset: int
    crc: int  # CRC-32 of its page


def pack_table(entries: Sequence[Entry], expert_bytes: int) -> bytes:
    """The bytes of a table."""
    return b"".join(struct.pack("<III", entry.offset, expert_bytes, entry.crc) for entry in entries)


def parse_table(table: bytes) -> list[Entry]:
    """The entries of a table."""
    return [Entry(offset, crc) for offset, _, crc in struct.iter_unpack("<III", table)]


def table_crc(sequence: int, table: bytes) -> int:
    """What the header of a copy of the table says: CRC-32 of its sequence number and the table."""
    return zlib.crc32(table, zlib.crc32(struct.pack("<I", sequence)))


def experts_crc(entries: Sequence[Entry]) -> int:
    """CRC-32 of the CRC-32s of all pages: which experts a board has, wherever they lie."""
    return zlib.crc32(struct.pack(f"<{len(entries)}I", *(entry.crc for entry in entries)))


def image_entries(image: bytes) -> list[Entry]:
    """The table behind the header of an image."""
    (count,) = struct.unpack_from("<I", image, 8)
    return parse_table(image[HEADER_BYTES : HEADER_BYTES + ENTRY_BYTES * count])


def pack_head(layout: ImageLayout, entries: Sequence[Entry], model_id: str) -> bytes:
    """An image up to its first page: header and table."""
    header = struct.pack(
        "<4sHHIIII32sI",
        MAGIC,
        UPDATABLE_VERSION if layout.spare_pages else VERSION,
        HEADER_BYTES,
        layout.experts,
        layout.alignment,
        layout.size_bytes,
        layout.expert_bytes,
        bytes.fromhex(model_id),
        layout.copies,
    )
    head = header + struct.pack("<I", zlib.crc32(header)) + pack_table(entries, layout.expert_bytes)
    return head.ljust(layout.first_page, b"\xff")


def build_image(
    model: Quantized, alignment: int, order: Sequence[int] = (), spare_pages: int = 0, model_id: str | None = None
) -> bytes:
    """The whole expert image.

    Args:
        model: a model with experts.
        alignment: of every page, a power of two >= 16; the flash's page size, or its sector's with spare pages.
        order: numbers of all experts as their pages follow each other; rising when empty.
        spare_pages: for experts that replace others later.
        model_id: what the firmware calls the model; None is the model's own.
    """
    config = model.config
    count, (_, page) = config.expert_count, pack_expert(model, config.routed_layers[0], 0)
    layout = ImageLayout(count, page.size_bytes, alignment, spare_pages)
    image = bytearray(b"\xff" * layout.size_bytes)
    entries = [Entry(0, 0)] * count
    for number, offset in zip(order or range(count), layout.pages, strict=False):
        layer, expert = divmod(number, config.num_experts)
        data, _ = pack_expert(model, config.routed_layers[layer], expert)
        entries[number] = Entry(offset, zlib.crc32(data))
        image[offset : offset + len(data)] = data
    image[: layout.first_page] = pack_head(layout, entries, model_id or model.model_id)
    return bytes(image)
