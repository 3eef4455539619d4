"""Instructions of a token, from the counts that come with the kernels (kernels_cmsis/results)."""

import csv
import dataclasses
import functools
from collections import Counter
from typing import Literal

from mmoe_embed.board import Board
from mmoe_embed.quantized import Quantized
from mmoe_embed.resources import kernels_dir
from mmoe_embed.toolchain import kernel_folders

# the machine on which the kernels of a folder were counted
_RESULTS = {"mve": "qemu_mps3_an547", "dsp": "qemu_mps2_an386", "reference": "qemu_mps2_an385"}
_CHECKSUM = "mmoe_crc32"

Part = Literal["layer", "shared", "expert", "head"]


@dataclasses.dataclass(frozen=True)
class KernelCall:
    """What a token asks of one kernel: how large, how often.

    Attributes:
        rows, columns: their product is what the counts are relative to: MACs, or elements.
        part: of the model: a layer but for its feed-forwards, its shared expert, a routed one, or the output head.
    """

    kernel: str
    rows: int
    columns: int
    times: int
    part: Part


@dataclasses.dataclass(frozen=True)
class Instructions:
    """Of one token and one part of the model at a time; the pager is not counted.

    Attributes:
        machine: the kernels were counted on it.
        layer: of one layer but for its feed-forwards, attention at half the context. Layers without experts count with
            those that have some, here and in `shared`.
        expert: of one routed expert.
        checksum: of one byte of an expert's page.
    """

    machine: str
    total: float
    layer: float
    shared: float
    expert: float
    head: float
    checksum: float


def list_calls(model: Quantized) -> list[KernelCall]:
    """The kernels of one token, attention at half the context."""
    config, calls = model.config, []
    for name, matrix in model.matrices.items():
        if ".experts." in name and ".experts.0." not in name:
            continue  # a token uses top-k of them, all of one size
        times = config.num_experts_per_tok if ".experts." in name else 1
        kernel = "mmoe_matvec_s8" if matrix.bits == 8 else "mmoe_matvec_s4g32"
        calls.append(KernelCall(kernel, matrix.rows, matrix.columns, times, _part_of(name)))
    layers, hidden = config.num_hidden_layers, config.hidden_size
    positions = 2 * max(1, config.max_position_embeddings // 2)  # scores and sums
    heads = layers * config.num_attention_heads
    calls.append(KernelCall("mmoe_attention_s8", config.head_dim, positions, heads, "layer"))
    calls += _list_vector_calls(hidden, layers, 2, "layer")
    calls.append(KernelCall("mmoe_quantize_s8", 1, config.attention_width, layers, "layer"))
    calls += _list_vector_calls(hidden, 1, 1, "head")
    if config.pre_rotary_norm != "none":
        norms = layers * (config.num_attention_heads + config.num_key_value_heads)
        calls.append(KernelCall("mmoe_rmsnorm_f32", 1, config.head_dim, norms, "layer"))
    for width, times in Counter(config.shared_width(layer) for layer in range(layers)).items():
        if width:
            calls += _list_feed_forward(width, times, "shared")
    if config.num_experts:
        routed = len(config.routed_layers)
        uses = routed * config.num_experts_per_tok
        calls.append(KernelCall("mmoe_route_f32", config.num_experts, hidden, routed, "layer"))
        calls += _list_feed_forward(config.moe_intermediate_size, uses, "expert")
        calls.append(KernelCall("mmoe_accumulate_f32", 1, hidden, uses, "expert"))
    return calls


def _list_vector_calls(hidden: int, times: int, norms: int, part: Part) -> list[KernelCall]:
    """`norms` norms, each with the rounding of what it gives, and the additions to the residual stream."""
    kernels = ("mmoe_rmsnorm_f32", "mmoe_quantize_s8", "mmoe_add_f32")
    return [KernelCall(kernel, 1, hidden, norms * times, part) for kernel in kernels]


def _list_feed_forward(width: int, times: int, part: Part) -> list[KernelCall]:
    """Of a feed-forward, all but its matrices."""
    return [KernelCall(kernel, 1, width, times, part) for kernel in ("mmoe_swiglu_f32", "mmoe_quantize_s8")]


def _part_of(matrix: str) -> Part:
    if ".experts." in matrix:
        return "expert"
    if ".shared." in matrix:
        return "shared"
    return "layer" if matrix.startswith("layers.") else "head"


def count_instructions(board: Board, model: Quantized) -> Instructions | None:
    """What the kernels of one token cost on a board's core; None for a core without counts."""
    if not board.core.core.startswith("cortex-m"):
        return None
    machine = _RESULTS.get(kernel_folders(board)[0])
    counts = _load_counts(machine) if machine else None
    if machine is None or counts is None:
        return None
    parts: dict[Part, float] = {"layer": 0.0, "shared": 0.0, "expert": 0.0, "head": 0.0}
    for call in list_calls(model):
        size = call.rows * call.columns
        each = _find_nearest(counts, call.kernel, size)
        if each is None:
            return None
        parts[call.part] += call.times * size * each
    routed = len(model.config.routed_layers)
    layers = routed or model.config.num_hidden_layers
    return Instructions(
        machine,
        sum(parts.values()),
        parts["layer"] / layers,
        parts["shared"] / layers,
        parts["expert"] / max(1, routed * model.config.num_experts_per_tok),
        parts["head"],
        _find_nearest(counts, _CHECKSUM, 1 << 20) or 0.0,
    )


def _find_nearest(counts: list[tuple[str, int, float]], kernel: str, size: int) -> float | None:
    """Instructions per MAC or element of the kernel's run of nearest size."""
    rows = [row for row in counts if row[0] == kernel]
    return min(rows, key=lambda row: max(row[1] / size, size / row[1]))[2] if rows else None


@functools.cache
def _load_counts(machine: str) -> list[tuple[str, int, float]] | None:
    """(kernel, MACs, instructions per MAC) of the counts that come with the kernels; a checksum counts its bytes."""
    path = kernels_dir() / "results" / f"{machine}.csv"
    if not path.is_file():
        return None
    with path.open(newline="", encoding="utf-8") as stream:
        return [
            (row["kernel"], int(row["macs"]), float(row["instructions_per_mac"]))
            for row in csv.DictReader(stream)
            if row["batch"] == "1" and int(row["macs"]) > 0
        ]
