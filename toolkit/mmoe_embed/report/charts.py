"""Charts of a report as lists of rectangles; the page draws them."""

import dataclasses
from collections.abc import Iterable, Sequence

from mmoe_embed.board import Board
from mmoe_embed.graph import Op
from mmoe_embed.image import Region

WIDTH = 920.0  # of every chart, in SVG units
_KINDS = {"attention": "attention", "moe": "experts", "linear": "projections", "embed": "embedding and head"}
_USES = ("text", "rodata", "experts", "data", "stack", "arena", "kv", "slots")


@dataclasses.dataclass(frozen=True)
class Segment:
    """A stretch of a bar: from `x`, `width` wide, in SVG units."""

    x: float
    width: float
    kind: str  # chooses the colour
    title: str  # shown when the mouse rests on it
    label: str = ""  # written on it


@dataclasses.dataclass(frozen=True)
class Bar:
    """One row of a chart."""

    label: str
    detail: str
    segments: tuple[Segment, ...]


def op_kind(op: Op) -> str:
    """What a reader calls this kind of work."""
    if op.layer < 0:
        return "embedding and head"
    return _KINDS.get(op.kind, "norms and rounding")


def draw_memories(board: Board, planned: Sequence[Region]) -> list[Bar]:
    """A bar for each memory that the image uses; its whole width is what the board gives."""
    bars = []
    for memory in board.memory:
        regions = sorted((r for r in planned if r.memory == memory.name), key=lambda r: _USES.index(r.use))
        used = sum(region.size_bytes for region in regions)
        if used:
            parts = [(region.use, region.size_bytes, f"{region.use}: {region.size_bytes:,} B") for region in regions]
            detail = f"{used:,} of {memory.usable_bytes:,} B"
            bars.append(Bar(memory.name, detail, _stack(parts, max(used, memory.usable_bytes))))
    return bars


def draw_timeline(ops: Sequence[Op], cost: Sequence[float], unit: str) -> Bar:
    """One token from left to right, each operation as wide as it is dear."""
    total = sum(cost) or 1.0
    parts = [
        (op_kind(op), c, f"{op.name}: {c:,.0f} {unit}, {100 * c / total:.1f} %")
        for op, c in zip(ops, cost, strict=True)
    ]
    return Bar("", f"{total:,.0f} {unit}", _stack(parts, total))


def draw_places(ops: Sequence[Op], cost: Sequence[float]) -> tuple[Segment, ...]:
    """Below `draw_timeline`, on its scale: which layer the operations are of."""
    groups: list[tuple[str, float]] = []
    for op, c in zip(ops, cost, strict=True):
        name = f"layer {op.layer}" if op.layer >= 0 else "embed" if not groups else "head"
        if groups and groups[-1][0] == name:
            groups[-1] = (name, groups[-1][1] + c)
        else:
            groups.append((name, c))
    total = sum(cost) or 1.0
    segments = _stack([("place", c, name) for name, c in groups], total)
    wide = 9.0 * WIDTH / 100  # narrower ones have no room for their name
    return tuple(dataclasses.replace(s, label=s.title) if s.width >= wide else s for s in segments)


def draw_ticks(total: float, unit: str) -> list[tuple[float, str]]:
    """(x, what is there) of five marks along a bar that stands for `total`."""
    return [(WIDTH * i / 4, f"{total * i / 4:,.0f}" + (f" {unit}" if i == 4 else "")) for i in range(5)]


def draw_experts(moe: float, check: float, wait: float, unit: str) -> Bar:
    """What of the experts' share is arithmetic, checksums of pages that were loaded, and waiting for them."""
    parts = [("experts", max(0.0, moe - check - wait)), ("page checks", check), ("waiting for pages", wait)]
    total = max(moe, check + wait)
    named = [(kind, c, f"{kind}: {c:,.0f} {unit}, {100 * c / (total or 1.0):.1f} %") for kind, c in parts]
    return Bar("experts", "; ".join(title for _, _, title in named), _stack(named, total))


def draw_layers(ops: Sequence[Op], cost: Sequence[float], unit: str) -> list[Bar]:
    """A bar for each layer, and one for what is outside; all on the scale of the dearest."""
    groups: dict[str, dict[str, float]] = {}
    for op, ticks in zip(ops, cost, strict=True):
        kinds = groups.setdefault(f"layer {op.layer}" if op.layer >= 0 else "outside", {})
        kinds[op_kind(op)] = kinds.get(op_kind(op), 0.0) + ticks
    order = sorted(groups, key=lambda name: name == "outside")  # stable: layers as they run, then the rest
    dearest, total = max((sum(kinds.values()) for kinds in groups.values()), default=0.0), sum(cost) or 1.0
    return [
        Bar(
            name,
            f"{sum(groups[name].values()):,.0f} {unit}, {100 * sum(groups[name].values()) / total:.1f} %",
            _stack([(k, c, f"{k}: {c:,.0f} {unit}") for k, c in groups[name].items()], dearest),
        )
        for name in order
    ]


def _stack(parts: Iterable[tuple[str, float, str]], whole: float) -> tuple[Segment, ...]:
    segments, x = [], 0.0
    for kind, size, title in parts:
        width = WIDTH * size / (whole or 1.0)
        segments.append(Segment(round(x, 2), round(width, 2), kind, title))
        x += width
    return tuple(segments)
