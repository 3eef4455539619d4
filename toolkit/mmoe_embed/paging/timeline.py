"""A board's timeline as spans: operations, experts, reads, waits and checks of pages (SPEC.md 8.1, timeline)."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from mmoe_embed.errors import ToolkitError
from mmoe_embed.serial.replies import Event

SHARED = 0xFFFF  # argument of the shared expert's events
STEP, OP_ENDED = 1, 2
# kind that begins, kind that ends: the lane
_PAIRS = {(3, 4): "read", (5, 6): "wait", (7, 8): "check", (9, 10): "expert"}
LANES = ("operation", "expert", "check", "wait", "read")


@dataclasses.dataclass(frozen=True)
class Span:
    """Something that took time; ticks since the first step that is shown.

    Attributes:
        lane: of `LANES`.
        hidden: of a read, the ticks during which the model did not wait.
    """

    lane: str
    name: str
    start: int
    end: int
    hidden: int | None = None

    @property
    def ticks(self) -> int:
        """How long it took."""
        return self.end - self.start


def build_spans(events: Sequence[Event], op_names: Sequence[str], experts: int, steps: int) -> list[Span]:
    """Spans of the last whole steps.

    Args:
        events: of `BoardClient.timeline`.
        op_names: of the emitted step function.
        experts: of one layer, to name them.
        steps: how many at most.

    Raises:
        ToolkitError: not one whole step was recorded.
    """
    begins = [number for number, event in enumerate(events) if event.kind == STEP]
    if not begins:
        raise ToolkitError(
            f"the board's last {len(events)} events hold no whole step",
            try_="mmoe-embed build with a larger --timeline, e.g. 2000",
        )
    events = events[begins[-min(steps, len(begins))] :]
    spans: list[Span] = []
    open_spans: dict[tuple[str, int], int] = {}
    zero = before = events[0].ticks
    read_end = 0
    for event in events:
        now = event.ticks - zero
        if event.kind == STEP:
            before = now
        elif event.kind == OP_ENDED:
            name = op_names[event.argument] if event.argument < len(op_names) else f"op {event.argument}"
            spans.append(Span("operation", name, before, now))
            before = now
        for (begin, end), lane in _PAIRS.items():
            key = (lane, event.argument)
            if event.kind == begin:
                open_spans[key] = now
            elif event.kind == end and key in open_spans:  # else it began before the first step shown
                start = open_spans.pop(key)
                if lane == "read":  # of several under way one is read, the others wait for it (SPEC.md 8.1, load_ticks)
                    start, read_end = max(start, read_end), now
                spans.append(Span(lane, _name_expert(event.argument, experts), start, now))
    waits = [span for span in spans if span.lane == "wait"]
    return [_hide(span, waits) if span.lane == "read" else span for span in spans]


def _name_expert(number: int, experts: int) -> str:
    return "shared expert" if number == SHARED else f"expert {number // experts}.{number % experts}"


def _hide(read: Span, waits: Sequence[Span]) -> Span:
    exposed = sum(max(0, min(read.end, wait.end) - max(read.start, wait.start)) for wait in waits)
    return dataclasses.replace(read, hidden=read.ticks - exposed)


def hidden_share(spans: Sequence[Span]) -> float | None:
    """Part of the time of reads during which the model computed; None without reads."""
    reads = [span for span in spans if span.lane == "read"]
    total = sum(span.ticks for span in reads)
    return sum(span.hidden or 0 for span in reads) / total if total else None


def to_chrome_trace(spans: Sequence[Span], tick_hz: int, title: str) -> str:
    """JSON that chrome://tracing and Perfetto open: one thread a lane, times by the board's clock.

    Source: the Trace Event Format, complete ("X") and metadata ("M") events, times in microseconds.
    """
    us = 1e6 / tick_hz
    events: list[dict[str, Any]] = [{"ph": "M", "pid": 1, "name": "process_name", "args": {"name": title}}]
    for thread, lane in enumerate(LANES, start=1):
        events.append({"ph": "M", "pid": 1, "tid": thread, "name": "thread_name", "args": {"name": lane}})
        events.append({"ph": "M", "pid": 1, "tid": thread, "name": "thread_sort_index", "args": {"sort_index": thread}})
    for span in sorted(spans, key=lambda span: span.start):
        event: dict[str, Any] = {
            "ph": "X",
            "pid": 1,
            "tid": LANES.index(span.lane) + 1,
            "cat": span.lane,
            "name": span.name,
            "ts": round(us * span.start, 3),
            "dur": round(us * span.ticks, 3),
            "args": {"ticks": span.ticks},
        }
        if span.hidden is not None:
            event["args"]["hidden_ticks"] = span.hidden
        events.append(event)
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ns"}, indent=0) + "\n"


_COLOURS = {"operation": "#b9c3d0", "expert": "#7d93b2", "check": "#e0b050", "wait": "#cc4433", "read": "#3a9a5b"}
_WIDTH, _LEFT, _ROW, _GAP = 1100, 90, 22, 8


def to_svg(spans: Sequence[Span], title: str) -> str:
    """The lanes one below the other; what of a read is not hidden is red, as are waits."""
    length = max(span.end for span in spans)
    scale = (_WIDTH - _LEFT - 10) / length
    height = 34 + len(LANES) * (_ROW + _GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}"'
        ' font-family="sans-serif" font-size="11">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="4" y="16" font-size="13">{_escape(title)}</text>',
    ]
    for row, lane in enumerate(LANES):
        top = 28 + row * (_ROW + _GAP)
        parts.append(f'<text x="4" y="{top + 15}">{lane}</text>')
        for span in spans:
            if span.lane == lane:
                parts.append(_draw(span.name, span.start, span.end, top, scale, _COLOURS[lane]))
        if lane == "read":
            waits = [span for span in spans if span.lane == "wait"]
            for read in (span for span in spans if span.lane == "read"):
                for wait in waits:
                    start, end = max(read.start, wait.start), min(read.end, wait.end)
                    if start < end:
                        parts.append(_draw(f"{read.name}, not hidden", start, end, top, scale, _COLOURS["wait"]))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _draw(name: str, start: int, end: int, top: int, scale: float, colour: str) -> str:
    x, width = _LEFT + scale * start, max(0.4, scale * (end - start))
    return (
        f'<rect x="{x:.1f}" y="{top}" width="{width:.1f}" height="{_ROW}" fill="{colour}" stroke="#ffffff"'
        f' stroke-width="0.3"><title>{_escape(name)}, {end - start} ticks</title></rect>'
    )


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
