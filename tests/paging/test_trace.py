"""Reading routing traces: what is right, and one broken file per rule."""

import time
from pathlib import Path

import numpy as np
import pytest

from mmoe_embed.errors import ToolkitError
from mmoe_embed.paging.trace import COLUMNS, DECODE, PREFILL, read_trace

HEAD = "# route_trace v1\n# layer=0 expert_bytes=100 dense_bytes=7\n# layer=1 expert_bytes=200 dense_bytes=7\n"
NAMES = ",".join(COLUMNS) + "\n"
ROWS = (
    "0,0,0,0,0,3,0.5,0,100\n0,0,1,0,0,3,0.5,0,0\n0,0,1,0,1,1,0.5,0,100\n"
    "0,0,0,1,0,2,1e-2,0,200\n0,1,2,0,0,1,0.5,1,0\n0,1,2,1,0,0,0.5,0,200\n"
)


@pytest.fixture
def write(tmp_path: Path):
    def write_file(text: str) -> Path:
        path = tmp_path / "trace.csv"
        path.write_bytes(text.encode())
        return path

    return write_file


def test_read_trace_touches_a_prompt_layer_by_layer_and_each_expert_once(write) -> None:
    trace = read_trace(write(HEAD + NAMES + ROWS))
    assert trace.expert_bytes == (100, 200)
    assert trace.experts_per_layer == 4
    assert trace.experts.tolist() == [3, 1, 4 + 2, 1, 4 + 0]
    assert trace.starts.tolist() == [0, 2, 3, 4, 5]
    assert trace.layers.tolist() == [0, 1, 0, 1]
    assert trace.phases.tolist() == [PREFILL, PREFILL, DECODE, DECODE]
    assert trace.token_starts.tolist() == [True, False, True, False]
    assert (trace.top_k, trace.cycle_bytes) == (2, 600)
    assert trace.sizes.tolist() == [100] * 4 + [200] * 4


def test_read_trace_takes_guesses_of_single_tokens(write) -> None:
    guesses = ["-1", "-1", "-1", "2", "-1", "5"]  # of layer 1 the last: of an expert that nothing uses
    rows = "".join(f"{row},{guess}\n" for row, guess in zip(ROWS.splitlines(), guesses, strict=True))
    trace = read_trace(write(HEAD + NAMES.replace("\n", ",guess\n") + rows))
    assert trace.experts_per_layer == 6
    assert trace.experts.tolist() == [3, 1, 6 + 2, 1, 6 + 0]
    assert trace.guesses is not None
    assert trace.guesses.tolist() == [[-1, -1], [6 + 2, -1], [-1, -1], [6 + 5, -1]]
    # in a prompt that is computed at once nothing is guessed
    rows = rows.replace("0,0,0,1,0,2,", "0,0,1,1,0,2,") + "0,0,0,1,0,1,0.5,0,0,3\n"
    together = read_trace(write(HEAD + NAMES.replace("\n", ",guess\n") + rows))
    assert together.guesses is not None
    assert together.guesses.tolist() == [[-1, -1], [-1, -1], [-1, -1], [11, -1]]
    assert together.first_half().guesses is not None


@pytest.mark.parametrize("guess", ["0.5", "-2", "9999999"])
def test_read_trace_refuses_what_is_no_guess(write, guess: str) -> None:
    rows = "".join(f"{row},{guess}\n" for row in ROWS.splitlines())
    with pytest.raises(ToolkitError, match="guess is"):
        read_trace(write(HEAD + NAMES.replace("\n", ",guess\n") + rows))


@pytest.mark.parametrize("text", [HEAD + NAMES + ROWS[:-1], (HEAD + NAMES + ROWS).replace("\n", "\r\n")])
def test_read_trace_takes_a_missing_last_newline_and_windows_lines(write, text: str) -> None:
    assert read_trace(write(text)).experts.tolist() == [3, 1, 6, 1, 4]


@pytest.mark.parametrize(
    ("text", "message", "at"),
    [
        (NAMES + ROWS, "no head", "line 1"),
        ("", "missing: turn", "line 1"),
        (HEAD + NAMES, "no rows", "line 5"),
        ("# n_expert=4\n" + HEAD + NAMES + ROWS + "0,1,3,1,0,4,0.5,0,0\n", "an expert number from 4 on", "line 12"),
        (HEAD + NAMES.replace("slot", "rank") + ROWS, "unknown columns: rank; missing: slot", "line 4"),
        (HEAD + NAMES.replace("turn,phase", "phase,turn") + ROWS, "out of order", "line 4"),
        (HEAD + NAMES + ROWS + "0,1,3,0\n", "4 columns, 9 are needed", "line 11"),
        (HEAD + NAMES + ROWS.replace("1e-2", "much"), "not a row of numbers", "line 8"),
        (HEAD + NAMES + ROWS.replace("1e-2", "ä"), "not a row of numbers", "line 8"),
        (HEAD + NAMES + ROWS.replace("1e-2", ""), "not a row of numbers", "line 8"),
        (HEAD + NAMES + ROWS.replace("1e-2", "nan"), "finite", "line 8"),
        (HEAD.replace("200", "-200") + NAMES + ROWS, "expert_bytes is -200", "line 3"),
        (HEAD.replace("200", "0") + NAMES + ROWS, "expert_bytes is 0", "line 3"),
        (HEAD.replace("200", "2k") + NAMES + ROWS, "whole numbers", "line 3"),
        (HEAD.replace("layer=1", "layer=0") + NAMES + ROWS, "layer 0 is given twice", "line 3"),
        (HEAD.replace("layer=1", "layer=2") + NAMES + ROWS, "leaves out layer 1", "trace.csv"),
        (HEAD + NAMES + ROWS + "0,1,3,2,0,1,0.5,0,0\n", "layer that the head leaves out", "line 11"),
        (HEAD + NAMES + ROWS + "0,1,3,0,0,-1,0.5,0,0\n", "expert is negative", "line 11"),
        (HEAD + NAMES + ROWS + "0,1,3,0,0,1,0.5,0,-4\n", "expert_bytes is negative", "line 11"),
        (HEAD + NAMES + ROWS + "0,1,3,0,0,1.5,0.5,0,0\n", "expert is not a whole number", "line 11"),
        (HEAD + NAMES + ROWS + "0,2,3,0,0,1,0.5,0,0\n", "phase is neither", "line 11"),
        (HEAD + NAMES + ROWS + "0,1,3,0,0,9999999,0.5,0,0\n", "expert number from", "line 11"),
        (HEAD + NAMES + ROWS + "0,1,1e300,0,0,1,0.5,0,0\n", "step is too large", "line 11"),
    ],
)
def test_read_trace_names_what_is_broken(write, text: str, message: str, at: str) -> None:
    with pytest.raises(ToolkitError) as caught:
        read_trace(write(text))
    assert message in caught.value.message
    assert at in caught.value.at


def test_read_trace_of_something_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_bytes(b"\x7fELF\xff\xfe")
    with pytest.raises(ToolkitError, match="is text"):
        read_trace(path)


def test_read_trace_of_200000_rows_in_seconds(write) -> None:
    number = np.arange(200_000)
    rows = "".join(f"0,1,{n // 4},{n // 2 % 2},{n % 2},{n % 97},0.5,0,0\n" for n in number.tolist())
    path = write(HEAD + NAMES + rows)
    start = time.process_time()
    assert len(read_trace(path).experts) == 200_000
    assert time.process_time() - start < 5
