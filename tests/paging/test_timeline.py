"""The runtime's record of reads, waits and compute, read out of an emulated board."""

from pathlib import Path

import pytest
from test_flash_model import BOARD, WATCH, run_cli

from mmoe_embed.build_folder import load_build
from mmoe_embed.cli.board_session import open_build

STEP, OP, READ, READ_END, WAIT, WAIT_END, CHECK, CHECK_END, FFN, FFN_END = range(1, 11)
SHARED = 0xFFFF


@pytest.mark.arm
@pytest.mark.qemu
def test_timeline_of_a_token(tmp_path: Path) -> None:
    run_cli(
        "build", WATCH, "--board", BOARD, "--sram", "128K", "-o", tmp_path / "b",
        "--flash-model", "8M", "--instruction-ns", "8", "--timeline", "900",
    )  # fmt: skip
    with open_build(tmp_path / "b", None, None) as (_, _, client):
        client.reset(empty_slots=True, clear_statistics=True)
        client.step(7)
        events, statistics, ops = client.timeline(), client.statistics(), client.profile()
        for token in range(9):
            client.step(token)
        later = client.timeline()
    kinds = [event.kind for event in events]
    assert kinds[0] == STEP
    assert kinds.count(OP) == len(ops)
    assert kinds.count(READ) == kinds.count(READ_END) == statistics.misses
    assert kinds.count(FFN) == kinds.count(FFN_END) == 4 * (4 + 1)
    assert [event.argument for event in events if event.kind == FFN].count(SHARED) == 4
    for begin, end, ticks in (
        (READ, READ_END, statistics.load_ticks),
        (WAIT, WAIT_END, statistics.stall_ticks),
        (CHECK, CHECK_END, statistics.check_ticks),
    ):
        spans = [e.ticks for e in events if e.kind == end], [e.ticks for e in events if e.kind == begin]
        assert sum(spans[0]) - sum(spans[1]) == pytest.approx(ticks, rel=0.05)
        assert all(b <= e for b, e in zip(spans[1], spans[0], strict=True))
    done = [event.ticks for event in events if event.kind == OP]
    assert done == sorted(done)
    assert len(later) == 900  # the ring keeps the last ones
    assert load_build(tmp_path / "b").plan["timeline_events"] == 900
