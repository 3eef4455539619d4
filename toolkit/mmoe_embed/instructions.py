"""Instructions of a token, operation by operation, from the kernels' counts (kernels_cmsis/results)."""

import csv
import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmoe_embed.board import Board
from mmoe_embed.experts import expert_page
from mmoe_embed.graph import Op, build_graph
from mmoe_embed.quantized import Quantized
from mmoe_embed.resources import kernels_dir
from mmoe_embed.toolchain import kernel_folders

# Machine on which the kernels of a folder were counted; code for a core without Thumb-2 has its own counts.
_MACHINES = {"mve": "qemu_mps3_an547", "dsp": "qemu_mps2_an386", "reference": "qemu_mps2_an385"}
_SMALL_CORES = {"cortex-m0": "qemu_microbit", "cortex-m0plus": "qemu_microbit"}

# Instructions around the kernels, measured: what `mmoe-embed bench model` gives more than the kernels' counts, on
# qemu_mps2_an386 (paged) and qemu_mps2_an500 (resident).
_AROUND_OPERATION = 80  # its call, two reads of the clock
_AROUND_EXPERT = 400  # the pager's part in a use
_AROUND_READ = 2600  # the choice of a slot, the driver, the wait

COPYING_STORAGE = ("mapped",)  # drivers in which the core copies a page itself
_CSV_KV_HEADS = 2  # of the measured attention (bench/firmware/bench.c)


@dataclasses.dataclass(frozen=True)
class Instructions:
    """Of one decoded token and of parts of the model, experts at hand.

    Attributes:
        machine: the kernels were counted on it.
        operations: by the name that an operation has in every layer, summed over the layers; in order.
        layer: of one layer but for its feed-forwards; layers without experts count with those that have some.
        shared: of the shared expert of such a layer.
        expert: of one routed expert.
        head: of what is outside the layers.
        checksum: of one byte of an expert's page.
        read: of one expert's way from the image into a slot: the pager, a copy by the core, the checksum.
    """

    machine: str
    operations: dict[str, float]
    layer: float
    shared: float
    expert: float
    head: float
    checksum: float
    read: float

    @property
    def total(self) -> float:
        """All operations, without reads."""
        return sum(self.operations.values())


def count_instructions(
    board: Board, model: Quantized, *, positions: float | None = None, copies: bool = True
) -> Instructions | None:
    """What a decoded token costs on a board's core; None for a core without counts.

    Args:
        board: its core decides.
        model: what is computed.
        positions: tokens in the context, this one included; a mean for a mean; None is half the context.
        copies: whether the core copies a page itself; a DMA engine does not take its instructions.
    """
    counts, config = load_counts(board), model.config
    if counts is None:
        return None
    positions = positions or max(1, config.max_position_embeddings // 2)
    operations: dict[str, float] = {}
    head = 0.0
    for op in build_graph(config).ops:
        name = op.name.rpartition(".")[2]
        cost = _AROUND_OPERATION + _count_operation(counts, op, model, positions)
        operations[name] = operations.get(name, 0.0) + cost
        head += cost if op.layer < 0 else 0.0
    routed = config.routed_layers
    shared, expert = _count_shared(counts, model, routed[0]), _count_expert(counts, model, routed[0])
    layer = (sum(operations.values()) - head) / len(routed)
    page = expert_page(model)
    size_bytes = page.size_bytes if page else 0
    check = counts.of("mmoe_crc32", 1, size_bytes) if page else 0.0
    copy = counts.of("memcpy", 1, size_bytes) if page and copies else 0.0
    return Instructions(
        counts.machine,
        operations,
        layer - shared - config.num_experts_per_tok * expert,
        shared,
        expert,
        head,
        check / max(1, size_bytes),
        _AROUND_READ + copy + check if page else 0.0,
    )


# --- operations in kernels ---


def _count_operation(counts: "KernelCounts", op: Op, model: Quantized, positions: float) -> float:
    config = model.config
    d = config.hidden_size
    if op.kind == "embed":
        return counts.of("mmoe_embed_s8", 1, d)
    if op.kind == "rmsnorm":
        return counts.of("mmoe_rmsnorm_s8", 1, d)
    if op.kind == "linear":
        cost = _count_product(counts, model, op.weights)
        return cost + (counts.of("mmoe_add_f32", 1, d) if len(op.outputs) > 1 else 0.0)
    if op.kind == "attention":
        return _count_attention(counts, model, positions) + counts.of("mmoe_quantize_s8", 1, config.attention_width)
    if op.kind == "window":  # a subtraction and a product a number, as this addition has
        size = config.window_size
        return counts.of("mmoe_accumulate_f32", 1, size) + counts.of("mmoe_quantize_s8", 1, size)
    if op.kind == "pool":
        return counts.of("mmoe_add_f32", 1, d) + counts.of("mmoe_accumulate_f32", 1, d)
    if op.kind == "bias":
        return counts.of("mmoe_add_f32", 1, config.qkv_rows if op.layer >= 0 else d)
    if op.kind == "norm_parts":
        _, count, size = op.parts
        return count * counts.of("mmoe_rmsnorm_f32", 1, size)
    return _count_moe(counts, model, op.layer) if op.kind == "moe" else 0.0


def _count_product(counts: "KernelCounts", model: Quantized, name: str) -> float:
    matrix = model.matrices[name]
    kernel = "mmoe_matvec_s8" if matrix.bits == 8 else "mmoe_matvec_s4g32"
    return counts.of(kernel, matrix.rows, matrix.columns)


def _count_attention(counts: "KernelCounts", model: Quantized, positions: float) -> float:
    config = model.config
    heads, kv_heads, dim = config.num_attention_heads, config.num_key_value_heads, config.head_dim
    cost = counts.of("mmoe_attention_s8", positions, heads * dim, heads, kv_heads=kv_heads)
    if not config.qk_norm:  # the measured one has it
        cost -= (heads + kv_heads) * counts.of("mmoe_rmsnorm_f32", 1, dim)
    return cost


def _count_moe(counts: "KernelCounts", model: Quantized, layer: int) -> float:
    config = model.config
    top_k = config.num_experts_per_tok
    cost = _count_shared(counts, model, layer)
    if not config.experts_of(layer):
        return cost + counts.of("mmoe_combine_f32", 1, config.hidden_size, 0)
    cost += counts.of("mmoe_route_f32", config.num_experts, config.hidden_size, top_k)
    cost += counts.of("mmoe_combine_f32", 1, config.hidden_size, top_k)
    return cost + top_k * _count_expert(counts, model, layer)


def _count_shared(counts: "KernelCounts", model: Quantized, layer: int) -> float:
    width = model.config.shared_width(layer)
    return _count_ffn(counts, model, f"layers.{layer}.shared.", width) if width else 0.0


def _count_expert(counts: "KernelCounts", model: Quantized, layer: int) -> float:
    config = model.config
    if not config.num_experts:
        return 0.0
    ffn = _count_ffn(counts, model, f"layers.{layer}.experts.0.", config.moe_intermediate_size)
    return _AROUND_EXPERT + ffn


def _count_ffn(counts: "KernelCounts", model: Quantized, at: str, width: int) -> float:
    products = sum(_count_product(counts, model, at + name) for name in ("gate_up", "down"))
    gates = counts.of("mmoe_swiglu_s8", 1, width) - counts.of("memcpy", 1, 8 * width)  # counted with a copy for it
    return products + gates


# --- kernels by their counts ---

# (rows, columns, batch, kv_heads) -> what the cost is linear in
_Terms = Callable[[float, int, int, int], Sequence[float]]


def _matvec_terms(block: int, at_once: int) -> _Terms:
    """Tiles of four rows, each of whole blocks (SPEC.md 5), of which some go together."""

    def terms(rows: float, columns: int, _batch: int, _kv_heads: int) -> Sequence[float]:
        tiles, blocks = -(-rows // 4), -(-columns // block)
        return (1, tiles, tiles * blocks, tiles * (blocks % at_once))

    return terms


def _attention_terms(positions: float, columns: int, heads: int, kv_heads: int) -> Sequence[float]:
    """Heads to rotate and quantize; weights of a softmax; products with keys and values, in blocks of 16 positions.

    Those of heads that share keys and values go together, in fours, pairs and alone.
    """
    dim, vectors, group = columns // heads, heads + 2 * kv_heads, heads // kv_heads
    blocks = positions if positions % 16 == 0 else positions + 7.5  # the mean over the positions of a block
    together = (group // 4, group % 4 // 2, group % 2)
    products = (kv_heads * count * blocks * dim for count in together)
    return (vectors, vectors * dim, heads * positions, *products)


_TERMS: dict[str, _Terms] = {
    "mmoe_matvec_s8": _matvec_terms(16, 4),
    "mmoe_matvec_s4g32": _matvec_terms(32, 1),
    "mmoe_route_f32": lambda experts, columns, top_k, _: (1, experts, experts * columns, experts * top_k),
    "mmoe_attention_s8": _attention_terms,
    "mmoe_combine_f32": lambda _rows, columns, experts, _: (1, columns, experts * columns),
}


def _length_terms(_rows: float, columns: int, _batch: int, _kv_heads: int) -> Sequence[float]:
    return (1, columns)


class KernelCounts:
    """Instructions of kernels of any shape, from those of a few shapes: least squares, relative errors alike."""

    def __init__(self, machine: str, file: Path) -> None:
        self.machine = machine
        self._rows: dict[str, list[tuple[int, int, int, float]]] = {}
        with file.open(newline="", encoding="utf-8") as stream:
            for row in csv.DictReader(stream):
                shape = (int(row["rows"]), int(row["columns"]), int(row["batch"]))
                self._rows.setdefault(row["kernel"], []).append((*shape, float(row["instructions"])))
        self._fitted: dict[tuple[str, int], NDArray[np.float64]] = {}

    def of(self, kernel: str, rows: float, columns: int, batch: int = 1, *, kv_heads: int = 0) -> float:
        """Instructions of one call.

        Args:
            kernel: its name in the CSV.
            rows, columns, batch: as in the CSV.
            kv_heads: of attention alone.
        """
        terms = _TERMS.get(kernel, _length_terms)(rows, columns, batch, kv_heads)
        return float(np.dot(terms, self._fit(kernel, columns)))

    def _fit(self, kernel: str, columns: int) -> NDArray[np.float64]:
        # some cores have a way of their own for narrow matrices: a width that was counted twice stands for itself alone
        rows, key = self._rows[kernel], (kernel, 0)
        if kernel.startswith("mmoe_matvec"):
            widths = [width for _, width, *_ in rows]
            own = {width for width in widths if widths.count(width) > 1}
            key = (kernel, columns if columns in own else 0)
            rows = [row for row in rows if (row[1] == columns if columns in own else row[1] not in own)]
        if key not in self._fitted:
            terms = _TERMS.get(kernel, _length_terms)
            matrix = np.array([terms(r, c, b, _CSV_KV_HEADS) for r, c, b, _ in rows], np.float64)
            counts = np.array([count for *_, count in rows])
            self._fitted[key] = np.linalg.lstsq(matrix / counts[:, None], np.ones(len(counts)), rcond=None)[0]
        return self._fitted[key]


def load_counts(board: Board) -> KernelCounts | None:
    """The counts for a board's core; None for one without."""
    if not board.core.core.startswith("cortex-m"):
        return None
    return _load_counts(_SMALL_CORES.get(board.core.core) or _MACHINES.get(kernel_folders(board)[0], ""))


@functools.cache
def _load_counts(machine: str) -> KernelCounts | None:
    file = kernels_dir() / "results" / f"{machine}.csv"
    return KernelCounts(machine, file) if file.is_file() else None
