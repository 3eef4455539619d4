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
from mmoe_embed.report.charts import WIDTH, draw_layers, draw_memories, draw_timeline, op_kind
from mmoe_embed.validate import Report
from mmoe_embed.validate_report import count_instructions

_DEAREST_SHOWN = 12


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


def render_page(report: Report, board: Board, build: BuildFolder, ops: Sequence[Op]) -> str:
    """The page; the same arguments give the same text.

    Args:
        report: a validation.
        board: the board it ran on.
        build: what ran; its arena drawing is put into the page.
        ops: the operations of a step, in order.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mmoe_embed.report", "."),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=True,
    )
    unit = choose_unit(board, report.identity.tick_hz)
    cost = [unit.of(ticks) for ticks in report.performance.op_ticks]
    dearest = sorted(zip(ops, cost, report.performance.profile, strict=True), key=lambda row: -row[1])[:_DEAREST_SHOWN]
    arena = build.path / "gen" / "arena.svg"
    plan = build.plan
    return environment.get_template("page.html.j2").render(
        report=report,
        board=board,
        build=build,
        plan=plan,
        version=__version__,
        unit=unit,
        chart_width=WIDTH,
        memories=draw_memories(board, [Region(**region) for region in plan["regions"]]),
        timeline=draw_timeline(ops, cost, unit.name),
        layers=draw_layers(ops, cost, unit.name),
        dearest=dearest,
        total_cost=sum(cost) or 1.0,
        op_kind=op_kind,
        arena=arena.read_text(encoding="utf-8") if arena.is_file() else None,
        board_sha256=hashlib.sha256(repr(board).encode()).hexdigest(),
    )
