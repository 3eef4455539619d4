"""`mmoe-embed simulate`."""

import json
from pathlib import Path

import pytest
from verbs import call_verb

from mmoe_embed.paging.replay import POLICIES
from mmoe_embed.paging.trace import COLUMNS


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    rows = [
        f"0,{int(step > 2)},{step},{layer},{slot},{(step + 3 * slot + layer) % 5},0.5,0,0"
        for step in range(40)
        for layer in range(2)
        for slot in range(2)
    ]
    head = ["# layer=0 expert_bytes=1000", "# layer=1 expert_bytes=2000", ",".join(COLUMNS)]
    path = tmp_path / "trace.csv"
    path.write_text("\n".join([*head, *rows]))
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    return call_verb(capsys, "simulate", *arguments)


def test_simulate_json_has_every_policy(capsys, trace: Path) -> None:
    code, out, _ = run(capsys, trace, "--budget", "4K", "--bandwidth", "1000", "--json")
    data = json.loads(out)["data"]
    assert code == 0
    assert [entry["policy"] for entry in data["policies"]] == list(POLICIES)
    for entry in data["policies"]:
        assert set(entry) == {"policy", "decode_hit_rate", "prefill_hit_rate", "bytes_read", "stall_s"}
        assert 0 <= entry["decode_hit_rate"] <= 1
        assert 0 <= entry["prefill_hit_rate"] <= 1
        assert entry["stall_s"] == entry["bytes_read"] / 1000
    assert data["below_cycle"] is True
    assert data["cycle_bytes"] == 6000
    assert "LRU" in data["notes"][0]


def test_simulate_of_one_policy_prints_a_table(capsys, trace: Path) -> None:
    code, out, _ = run(capsys, trace, "--budget", "1M", "--policy", "lru")
    assert code == 0
    assert "lru" in out
    assert "belady" not in out
    assert "note:" not in out


@pytest.mark.parametrize(
    "arguments",
    [["--budget", "many"], ["--budget", "0"], [], ["--budget", "1K", "--policy", "best"]],
)
def test_simulate_wrong_usage(capsys, trace: Path, arguments: list[str]) -> None:
    assert run(capsys, trace, *arguments)[0] == 2


def test_simulate_of_a_file_that_is_not_there(capsys, tmp_path: Path) -> None:
    code, _, err = run(capsys, tmp_path / "none.csv", "--budget", "1K")
    assert code == 1
    assert "none.csv" in err
