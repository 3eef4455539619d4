"""`mmoe-embed profile`: spans from events, and the files, from a real timeline of an emulated board."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from paging.test_flash_model import BOARD, WATCH, run_cli

from mmoe_embed.cli import main
from mmoe_embed.errors import ToolkitError
from mmoe_embed.paging.timeline import SHARED, build_spans, hidden_share, to_chrome_trace
from mmoe_embed.serial.replies import Event

STEP, OP, READ, READ_END, WAIT, WAIT_END, _, _, FFN, FFN_END = range(1, 11)
EVENTS = [
    Event(5, OP, 1),  # of a step whose beginning is lost
    Event(10, STEP, 3),
    Event(12, READ, 17),
    Event(14, FFN, SHARED),
    Event(20, FFN_END, SHARED),
    Event(20, WAIT, 17),
    Event(26, READ_END, 17),
    Event(27, WAIT_END, 17),
    Event(40, OP, 0),
]


def test_build_spans_tells_what_was_hidden() -> None:
    spans = build_spans(EVENTS, ["moe", "head"], 16, 5)
    assert [(s.lane, s.name, s.start, s.end, s.hidden) for s in spans] == [
        ("expert", "shared expert", 4, 10, None),
        ("read", "expert 1.1", 2, 16, 8),
        ("wait", "expert 1.1", 10, 17, None),
        ("operation", "moe", 0, 30, None),
    ]
    assert hidden_share(spans) == 8 / 14
    trace = json.loads(to_chrome_trace(spans, 1_000_000, "test"))
    drawn = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    assert (drawn[0]["name"], drawn[0]["ts"], drawn[0]["dur"]) == ("moe", 0, 30)
    assert {event["tid"] for event in drawn} == {1, 2, 4, 5}


def test_reads_under_way_together_are_drawn_one_after_the_other() -> None:
    numbers = (STEP, 0), (READ, 1), (READ, 2), (READ_END, 1), (READ_END, 2), (OP, 0)
    events = [Event(10 * i, kind, argument) for i, (kind, argument) in enumerate(numbers)]
    reads = [(s.name, s.start, s.end) for s in build_spans(events, ["moe"], 16, 5) if s.lane == "read"]
    assert reads == [("expert 0.1", 10, 30), ("expert 0.2", 30, 40)]


def test_build_spans_needs_a_whole_step() -> None:
    with pytest.raises(ToolkitError, match="no whole step"):
        build_spans(EVENTS[:1], [], 16, 1)


@pytest.mark.arm
@pytest.mark.qemu
def test_profile_of_an_emulated_board(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build, trace, drawing = tmp_path / "b", tmp_path / "out.json", tmp_path / "out.svg"
    run_cli("build", WATCH, "--board", BOARD, "--sram", "128K", "-o", build, "--flash-model", "8M", "--timeline", "900")
    data = run_cli("profile", build, "call mum", "--steps", "1", "-o", trace, "--svg", drawing)
    events = json.loads(trace.read_text())["traceEvents"]
    spans = [event for event in events if event["ph"] == "X"]
    assert len(spans) == data["spans"]
    assert sum(event["cat"] == "read" for event in spans) > 0
    assert sum(event["cat"] == "expert" for event in spans) == 4 * (4 + 1)
    assert 0 <= data["hidden_share"] <= 1
    end = max(event["ts"] + event["dur"] for event in spans if event["cat"] == "operation")
    assert all(
        0 <= event["ts"] <= event["ts"] + event["dur"] <= end * 1.001 for event in spans if event["cat"] != "read"
    )
    assert ElementTree.fromstring(drawing.read_text()).tag.endswith("svg")


def test_profile_of_a_build_without_a_timeline(paged_build, tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["profile", str(paged_build.path), "-o", str(tmp_path / "out.json")])
    assert stopped.value.code == 2
    assert "--timeline" in capsys.readouterr().err
