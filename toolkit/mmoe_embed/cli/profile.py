"""`mmoe-embed profile`: what the board did when, as a trace for Perfetto and as a drawing."""

from pathlib import Path

import rich_click as click

from mmoe_embed.board import Board
from mmoe_embed.build_folder import load_build
from mmoe_embed.cli.board_session import build_argument, open_build, port_options
from mmoe_embed.cli.output import Result, verb
from mmoe_embed.emit.writer import write_files
from mmoe_embed.errors import UsageError
from mmoe_embed.graph import build_graph
from mmoe_embed.paging.timeline import LANES, Span, build_spans, hidden_share, to_chrome_trace, to_svg
from mmoe_embed.quantized import load_quantized
from mmoe_embed.serial.client import BoardClient
from mmoe_embed.validate_report import describe_cost

_REQUEST = "wake me at ten past six"


@verb("profile")
@build_argument
@click.argument("prompt", default=_REQUEST)
@port_options
@click.option("--steps", type=click.IntRange(min=1), default=2, show_default=True, help="The last N steps are shown.")
@click.option("--output", "-o", type=click.Path(path_type=Path), required=True, help="The trace, JSON for Perfetto.")
@click.option("--svg", type=click.Path(path_type=Path), help="A drawing of the same.")
def command(
    build: Path, prompt: str, port: str | None, baud: int | None, steps: int, output: Path, svg: Path | None
) -> Result:
    """Answer PROMPT on the board that runs BUILD, and show what it computed, read and waited for in its last steps.

    The build must record a timeline: `mmoe-embed build --timeline EVENTS`. Times are by the board's clock, which is
    virtual on an emulated board.
    """
    folder = load_build(build)
    if not folder.plan.get("timeline_events"):
        raise UsageError("this build records no timeline", at=str(build), try_="mmoe-embed build ... --timeline 2000")
    config = load_quantized(folder.quantized).config
    with open_build(build, port, baud) as (_, board, client):
        _answer(client, prompt)
        events = client.timeline()
        identity = client.identity or client.identify()
    spans = build_spans(events, [op.name for op in build_graph(config).ops], max(1, config.num_experts), steps)
    title = f"{folder.plan['board']}, {folder.plan['slots']} expert slots, build {folder.build_id[:12]}"
    write_files({output.name: to_chrome_trace(spans, identity.tick_hz, title).encode()}, output.parent)
    if svg:
        write_files({svg.name: to_svg(spans, title).encode()}, svg.parent)
    share = hidden_share(spans)
    ticks = {lane: sum(span.ticks for span in spans if span.lane == lane) for lane in LANES}
    data = {"trace": str(output), "svg": str(svg) if svg else None, "spans": len(spans), "ticks": ticks}
    return Result(data | {"hidden_share": share}, _render(spans, share, identity.tick_hz, board, [output, svg]))


def _answer(client: BoardClient, prompt: str) -> None:
    for _ in client.stream(prompt):
        pass


def _render(spans: list[Span], share: float | None, tick_hz: int, board: Board, files: list[Path | None]) -> str:
    lines = []
    for lane in LANES:
        own = [span for span in spans if span.lane == lane]
        cost = describe_cost(sum(span.ticks for span in own), tick_hz, board).split(" a token")[0]
        lines.append(f"{lane:<10} {len(own):>4} spans, {cost}")
    if share is not None:
        lines.append(f"hidden     {100 * share:.1f} % of the time of reads")
    return "\n".join([*lines, "written    " + ", ".join(str(file) for file in files if file)])
