"""A validation as one HTML page: no script, nothing loaded from elsewhere, drawings as inline SVG."""

import dataclasses
import hashlib
from collections.abc import Sequence

import jinja2

from mmoe_embed import __version__
from mmoe_embed.board import Board
from mmoe_embed.build_folder import BuildFolder
from mmoe_embed.graph import Op
from mmoe_embed.image import Region
from mmoe_embed.paging.timeline import build_spans, to_svg
from mmoe_embed.report.charts import (
    WIDTH,
    draw_experts,
    draw_layers,
    draw_memories,
    draw_places,
    draw_ticks,
    draw_timeline,
    op_kind,
)
from mmoe_embed.validate import Report
from mmoe_embed.validate_report import count_instructions

_DEAREST_SHOWN = 12
_TIMELINE_STEPS = 1  # of a recorded timeline; between two the board waits for the host


@dataclasses.dataclass(frozen=True)
class Run:
    """When and where a validation ran.

    Attributes:
        port: URL of the board's port; empty where the board's emulator was started for it.
        began: in UTC, for people.
        seconds: how long it took.
    """

    port: str
    began: str
    seconds: float


@dataclasses.dataclass(frozen=True)
class Unit:
    """What ticks are called on a board: instructions on an emulated one, microseconds on a real one."""

    name: str
    per_tick: float

    def of(self, ticks: float) -> float:
        """Ticks in this unit."""
        return ticks * self.per_tick


def choose_unit(board: Board, tick_hz: int) -> Unit:
    """Instructions are never called seconds; ticks of an unknown rate stay ticks."""
    instructions = count_instructions(1.0, tick_hz, board)
    if instructions is not None:
        return Unit("instructions", instructions)
    return Unit("µs", 1e6 / tick_hz) if tick_hz else Unit("ticks", 1.0)


def load_template(name: str) -> jinja2.Template:
    """A template of this folder."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mmoe_embed.report", "."),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=True,
    )
    return environment.get_template(name)


def render_page(report: Report, board: Board, build: BuildFolder, ops: Sequence[Op], run: Run) -> str:
    """The page; the same arguments give the same text.

    Args:
        report: a validation.
        board: the board it ran on.
        build: what ran; its arena drawing is put into the page.
        ops: the operations of a step, in order.
        run: when and where.
    """
    unit = choose_unit(board, report.identity.tick_hz)
    cost = [unit.of(ticks) for ticks in report.performance.op_ticks]
    dearest = sorted(zip(ops, cost, report.performance.profile, strict=True), key=lambda row: -row[1])[:_DEAREST_SHOWN]
    arena = build.path / "gen" / "arena.svg"
    plan, counters = build.plan, report.performance.counters
    total = sum(cost)
    moe = sum(c for op, c in zip(ops, cost, strict=True) if op.kind == "moe")
    check, wait = (unit.of(t) / (counters.steps or 1) for t in (counters.check_ticks, counters.stall_ticks))
    return load_template("page.html.j2").render(
        report=report,
        run=run,
        board=board,
        build=build,
        plan=plan,
        version=__version__,
        unit=unit,
        chart_width=WIDTH,
        memories=draw_memories(board, [Region(**region) for region in plan["regions"]]),
        timeline=draw_timeline(ops, cost, unit.name),
        places=draw_places(ops, cost),
        ticks=draw_ticks(total, unit.name),
        experts=draw_experts(moe, check, wait, unit.name),
        recorded=_draw_recorded(report, ops, plan["expert_count"]),
        layers=draw_layers(ops, cost, unit.name),
        dearest=dearest,
        total_cost=total or 1.0,
        op_kind=op_kind,
        arena=arena.read_text(encoding="utf-8") if arena.is_file() else None,
        board_sha256=hashlib.sha256(repr(board).encode()).hexdigest(),
    )


def _draw_recorded(report: Report, ops: Sequence[Op], expert_count: int) -> str:
    """The timeline that the board recorded, as SVG; empty where the build records none."""
    if not report.timeline:
        return ""
    experts = max(1, expert_count // max(1, report.identity.layers))
    spans = build_spans(report.timeline, [op.name for op in ops], experts, _TIMELINE_STEPS)
    return to_svg(spans, "the last step")
