"""The one-page report: nothing from elsewhere, every operation drawn to scale, failures in plain sight."""

import dataclasses
from html.parser import HTMLParser
from pathlib import Path

import pytest

from mmoe_embed.board import load_board
from mmoe_embed.build_folder import BuildFolder
from mmoe_embed.golden import Golden
from mmoe_embed.graph import build_graph
from mmoe_embed.image import Region
from mmoe_embed.quantized import load_quantized
from mmoe_embed.report import Run, render_page
from mmoe_embed.report.charts import (
    WIDTH,
    draw_experts,
    draw_layers,
    draw_memories,
    draw_places,
    draw_ticks,
    draw_timeline,
)
from mmoe_embed.report.page import choose_unit
from mmoe_embed.runners import connect_board
from mmoe_embed.validate import Report, draw_prompts, validate_board

RUN = Run("/dev/ttyACM0", "2026-01-02 03:04 UTC", 12.3)
VOID = {"meta", "rect", "line", "path", "br"}


class _Page(HTMLParser):
    """Checks that tags nest, and collects what a page could load and what it draws."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.rects = 0
        self.scripts = 0
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.rects += tag == "rect"
        self.scripts += tag == "script"
        self.loads += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "data")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.rects += tag == "rect"

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag
        elif self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        self.words.append(data.strip())


@pytest.fixture(scope="module")
def report(host_build: BuildFolder) -> Report:
    golden = Golden(load_quantized(host_build.quantized))
    board = load_board(host_build.board)
    with connect_board(board, host_build) as client:
        prompts = draw_prompts(vocab_size=290, context=48, steps=12, least=2)
        names = [op.name for op in build_graph(golden.config).ops]
        return validate_board(client, golden, prompts, plan=host_build.plan, op_names=names)


@pytest.mark.gcc
def test_page_stands_alone_and_shows_every_part(host_build: BuildFolder, report: Report) -> None:
    ops = build_graph(load_quantized(host_build.quantized).config).ops
    text = render_page(report, load_board(host_build.board), host_build, ops, RUN)
    page = _Page(text)
    assert page.loads == []
    assert page.scripts == 0
    assert "@import" not in text
    assert "url(" not in text
    assert page.rects > 2 * len(ops)  # timeline and layers, and the arena
    for word in ("Checks", "Memory", "Arena", "Time of a token", "Cost of each layer", "Kernel self-test"):
        assert word in page.words
    for word in ("embed", "layer 0", "layer 1", "waiting for pages", "2026-01-02 03:04 UTC, 12 s, at /dev/ttyACM0"):
        assert word in page.words
    assert len([word for word in page.words if word in ("signature", "date", "name")]) == 3
    assert "PASS" in page.words
    assert "mmoe_attention_s8" in page.words
    assert "16 steps to warm up, then 5 repeats of the same 16 steps" in " ".join(page.words)
    assert text == render_page(report, load_board(host_build.board), host_build, ops, RUN)


@pytest.mark.gcc
def test_page_of_a_failure_says_so(host_build: BuildFolder, report: Report) -> None:
    broken = dataclasses.replace(report.checks[1], ok=False, detail="11 of 12 steps <b>")
    wrong = dataclasses.replace(report.kernels[2], crc=1)
    failed = dataclasses.replace(report, checks=(broken,), kernels=(wrong,))
    ops = build_graph(load_quantized(host_build.quantized).config).ops
    text = render_page(failed, load_board(host_build.board), host_build, ops, RUN)
    page = _Page(text)
    assert "FAIL" in page.words
    assert "PASS" not in page.words
    assert "FAILED" in page.words
    assert "11 of 12 steps &lt;b&gt;" in text
    assert f"gave 00000001, must give {wrong.expected:08x}" in page.words


def test_charts_are_to_scale(host_build: BuildFolder) -> None:
    ops = build_graph(load_quantized(host_build.quantized).config).ops
    cost = [float(i + 1) for i in range(len(ops))]
    timeline = draw_timeline(ops, cost, "instructions")
    assert len(timeline.segments) == len(ops)
    assert abs(sum(s.width for s in timeline.segments) - WIDTH) < 1
    assert timeline.segments[-1].width == pytest.approx(WIDTH * cost[-1] / sum(cost), abs=0.01)
    places = draw_places(ops, cost)
    assert [s.title for s in places] == ["embed", "layer 0", "layer 1", "head"]
    assert sum(s.width for s in places) == pytest.approx(WIDTH, abs=0.1)
    assert draw_ticks(400.0, "instructions")[1] == (WIDTH / 4, "100")
    experts = draw_experts(100.0, 20.0, 5.0, "instructions")
    assert [s.width for s in experts.segments] == [WIDTH * 0.75, WIDTH * 0.2, WIDTH * 0.05]
    layers = draw_layers(ops, cost, "instructions")
    assert [bar.label for bar in layers] == ["layer 0", "layer 1", "outside"]
    assert max(sum(s.width for s in bar.segments) for bar in layers) == pytest.approx(WIDTH, abs=0.1)
    board = load_board("qemu_mps3_an547")
    bars = draw_memories(board, [Region("slots", "isram", 1 << 21), Region("kv", "isram", 1 << 20)])
    assert [(bar.label, [s.kind for s in bar.segments]) for bar in bars] == [("isram", ["kv", "slots"])]
    assert [s.width for s in bars[0].segments] == [WIDTH / 4, WIDTH / 2]


def test_unit_is_time_only_on_real_boards() -> None:
    emulated = choose_unit(load_board("qemu_mps3_an547"), 32_000_000)
    assert (emulated.name, emulated.of(32)) == ("instructions", 1000)
    assert choose_unit(load_board("st_nucleo_f446re"), 16_000_000).of(16) == 1.0
    assert choose_unit(load_board("st_nucleo_f446re"), 0).name == "ticks"


@pytest.mark.gcc
def test_validate_writes_the_page(host_build: BuildFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from mmoe_embed.cli import main

    file = tmp_path / "deep" / "report.html"
    with pytest.raises(SystemExit) as caught:
        main(["validate", str(host_build.path), "--steps", "12", "--html", str(file)])
    assert caught.value.code == 0
    assert "repeated    " in capsys.readouterr().out
    assert "PASS" in _Page(file.read_text()).words
