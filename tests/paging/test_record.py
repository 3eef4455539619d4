"""`mmoe-embed trace` on a real board: the host program."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from mmoe_embed.board import load_board
from mmoe_embed.build_folder import BuildFolder
from mmoe_embed.cli import main
from mmoe_embed.golden import Golden
from mmoe_embed.paging.record import TraceFile, describe_trace, record_trace
from mmoe_embed.paging.replay import RUNTIME_POLICIES, Replayer
from mmoe_embed.paging.trace import COLUMNS, DECODE, GUESS, NO_GUESS, PREFILL, read_trace
from mmoe_embed.quantized import load_quantized
from mmoe_embed.runners import connect_board

PROMPTS = ["wake me at ten past six", "call mum", "what is 62 fahrenheit in celsius"]


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(["trace", *map(str, arguments)])
    assert isinstance(stopped.value.code, int)
    return stopped.value.code


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    file = tmp_path / "prompts.txt"
    file.write_text("\n".join(PROMPTS))
    return file


@pytest.fixture(scope="module")
def recorded(paged_build: BuildFolder, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, int]:
    """A trace, and the hits and misses that the board counted meanwhile."""
    file = tmp_path_factory.mktemp("trace") / "trace.csv"
    golden = Golden(load_quantized(paged_build.quantized))
    trace = TraceFile(file, describe_trace(golden, paged_build.plan, paged_build.build_id, PROMPTS))
    with connect_board(load_board(paged_build.board), paged_build) as client:
        record_trace(client, golden, PROMPTS, trace, expert_bytes=paged_build.plan["expert_bytes"])
        statistics = client.statistics()
    return file, statistics.hits, statistics.misses


@pytest.mark.gcc
def test_simulate_of_a_recorded_trace_hits_as_the_board_did(
    paged_build: BuildFolder, recorded: tuple[Path, int, int]
) -> None:
    file, hits, misses = recorded
    plan = paged_build.plan
    replay = Replayer(read_trace(file)).replay(RUNTIME_POLICIES[plan["policy"]], plan["slots"] * plan["expert_bytes"])
    assert replay.prefill_hits + replay.decode_hits == hits
    assert replay.prefill_accesses + replay.decode_accesses == hits + misses
    assert replay.bytes_read == misses * plan["expert_bytes"]
    assert hits > 0
    assert replay.decode_hits > 0


@pytest.mark.gcc
def test_trace_has_what_the_format_says(paged_build: BuildFolder, recorded: tuple[Path, int, int]) -> None:
    file, hits, misses = recorded
    lines = file.read_text().splitlines()
    rows = [line.split(",") for line in lines if not line.startswith(("#", "turn"))]
    assert ",".join([*COLUMNS, GUESS]) in lines
    assert len(rows) == hits + misses
    assert sum(int(row[7]) for row in rows) == hits
    for four in (rows[i : i + 4] for i in range(0, len(rows), 4)):  # a layer of a token
        assert len({tuple(row[:4]) for row in four}) == 1
        assert sorted(int(row[4]) for row in four) == [0, 1, 2, 3]
        by_rank = sorted(four, key=lambda row: int(row[4]))
        assert [float(row[6]) for row in by_rank] == sorted((float(row[6]) for row in four), reverse=True)
        assert all((row[8] == "0") == (row[7] == "1") for row in four)
    trace = read_trace(file)
    assert trace.guesses is not None
    assert ((trace.guesses == NO_GUESS).all(1) == (trace.layers == 0)).all()
    used = [set(trace.experts[a:b].tolist()) for a, b in itertools.pairwise(trace.starts.tolist())]
    right = [first in chosen for first, chosen in zip(trace.guesses[:, 0].tolist(), used, strict=True)]
    assert trace.guess_rate == np.mean(np.array(right)[trace.layers > 0]) > 0.4  # one in four would be chance
    golden = Golden(load_quantized(paged_build.quantized))
    asked = sum(len(golden.prompt_tokens(prompt)) for prompt in PROMPTS)
    assert int((trace.token_starts & (trace.phases == PREFILL)).sum()) == asked
    assert int((trace.token_starts & (trace.phases == DECODE)).sum()) > 3


@pytest.mark.gcc
def test_trace_goes_on_where_it_was_interrupted(
    paged_build: BuildFolder, recorded: tuple[Path, int, int], prompts: Path, tmp_path: Path
) -> None:
    file, partial = tmp_path / "trace.csv", tmp_path / "trace.csv.partial"
    whole = recorded[0].read_text()
    second = whole.index("\n1,0,0") + 1
    partial.write_text(whole[: second + 700])  # in the middle of the second prompt
    assert run(paged_build.path, "--prompts", prompts, "-o", file) == 0
    assert not partial.exists()
    routes = [[line.split(",")[:7] for line in text.splitlines()] for text in (whole, file.read_text())]
    assert routes[0] == routes[1]  # which of them were loaded is another matter: the slots were empty again
    before = file.stat().st_mtime_ns
    assert run(paged_build.path, "--prompts", prompts, "-o", file) == 0
    assert file.stat().st_mtime_ns == before


@pytest.mark.gcc
def test_trace_refuses_a_file_of_something_else(
    paged_build: BuildFolder, prompts: Path, tmp_path: Path, capsys
) -> None:
    file = tmp_path / "trace.csv"
    file.write_text("# route_trace v1\n")
    assert run(paged_build.path, "--prompts", prompts, "-o", file) == 6
    assert "--fresh" in capsys.readouterr().err
    assert run(paged_build.path, "--prompts", prompts, "--limit", "1", "-o", file, "--fresh", "--json") == 0
    data = json.loads(capsys.readouterr().out)["data"]
    assert data["prompts"] == 1
    assert data["tokens"] > 10
