"""The MLPerf Tiny device protocol: the dialogue of mlcommons/tiny's runner, and what it must be told when it is wrong."""

import re
import struct

import numpy as np
import pytest
from emitted import Models
from images import MACHINES
from test_firmware_host import Wire, serve
from test_firmware_qemu import emulate

from mmoe_embed.golden import Golden, exp, sum_lanes

PIECE_BYTES = 31  # of one `db` line, as the runner sends them
TEXT, CANDIDATES = b"call mum now", (5, 17, 260, 299)


def ask(wire: Wire, command: str) -> list[str]:
    """The lines of a reply without m-ready; the runner drops empty ones."""
    lines = wire.text(command.encode() + b"%").decode().split("\r\n")
    assert lines[-2:] == ["m-ready", ""]
    return [line for line in lines[:-2] if line]


def load(wire: Wire, data: bytes) -> list[str]:
    assert ask(wire, f"db load {len(data)}") == [f"m-[Expecting {len(data)} bytes]"]
    said: list[str] = []
    for at in range(0, len(data), PIECE_BYTES):
        assert said == []
        said = ask(wire, f"db {data[at : at + PIECE_BYTES].hex()}")
    return said


def results_of(line: str) -> list[float]:
    found = re.match(r"^m-results-\[([^]]+)\]$", line)
    assert found, line
    return [float(x) for x in found[1].split(",") if x.strip()]


def golden_results(golden: Golden, text: bytes, candidates: tuple[int, ...]) -> list[float]:
    golden.reset()
    for token in golden.prompt_tokens(text.decode()):
        logits = golden.step(token)
    if not candidates:
        return [float(np.argmax(logits))]
    e = exp(logits[list(candidates)] - logits[list(candidates)].max())
    return [float(f"{x:.3f}") for x in np.rint(np.float32(1000) * (e / sum_lanes(e))) / 1000]


def encode_input(text: bytes, candidates: tuple[int, ...]) -> bytes:
    return struct.pack(f"<B{len(candidates)}H", len(candidates), *candidates) + text


def run_dialogue(wire: Wire, golden: Golden) -> None:
    """What the runner does in performance and in accuracy mode, with its regular expressions."""
    assert re.match(r"^m-(name)-dut-\[([^]]+)]$", ask(wire, "name")[0])
    profile = ask(wire, "profile")
    assert [re.match(r"^m-(model|profile)-\[([^]]+)]$", line)[1] for line in profile] == ["profile", "model"]  # type: ignore[index]
    assert profile[1] == f"m-model-[{golden.model.model_id[:8]}]"
    for candidates, text, count, warm_up in ((CANDIDATES, TEXT, 3, 2), (CANDIDATES, b"wake me", 1, 0), ((), b"", 1, 0)):
        assert load(wire, encode_input(text, candidates)) == ["m-load-done"]
        lines = ask(wire, f"infer {count} {warm_up}")
        laps = [int(m[1]) for line in lines if (m := re.match(r"^m-lap-us-([0-9]+)$", line))]
        assert len(laps) == 2
        assert laps[0] < laps[1]
        assert [line for line in lines if not line.startswith(("m-lap", "m-results"))] == [
            f"m-warmup-start-{warm_up}", "m-warmup-done", f"m-infer-start-{count}", "m-infer-done",
        ]  # fmt: skip
        assert results_of(lines[-1]) == golden_results(golden, text, candidates)
        assert ask(wire, "results") == [lines[-1]]


@pytest.mark.gcc
def test_runner_dialogue_on_the_host(models: Models) -> None:
    with serve(models.host(3)) as port, Wire(port) as wire:
        run_dialogue(wire, Golden(models.model()))


@pytest.mark.arm
@pytest.mark.qemu
def test_runner_dialogue_on_a_board(models: Models) -> None:
    with emulate(models.image("mps3-an547"), MACHINES["mps3-an547"]) as (port, _), Wire(port) as wire:
        wire.text(b"")  # the banner
        run_dialogue(wire, Golden(models.model()))


@pytest.mark.gcc
def test_defaults_print_and_surplus_digits(models: Models) -> None:
    with serve(models.host(3)) as port, Wire(port) as wire:
        assert ask(wire, "infer")[:3] == ["m-warmup-start-10", "m-warmup-done", "m-infer-start-1"]
        assert ask(wire, "infer 2")[2] == "m-infer-start-2"
        assert ask(wire, "db load 10")
        assert ask(wire, "db 00010203040506070809ffff") == ["m-load-done"]
        assert ask(wire, "db print") == ["m-buffer-00-01-02-03-04-05-06-07", "m-buffer-08-09"]
        assert ask(wire, "db print 3 7") == ["m-buffer-07-08-09"]
        assert ask(wire, "db print 3 99") == []
        assert ask(wire, "db AbCd") == []


@pytest.mark.gcc
@pytest.mark.parametrize(
    ("command", "reply"),
    [
        ("infer 0", "e-[Inference iterations must be >0]"),
        ("infer x", "e-[Inference iterations must be >0]"),
        ("infer 1 -1", "e-[Inference warmup must be >=0]"),
        ("db", "e-[Command 'db' requires a subcommand]"),
        ("db load", "e-[Command 'db load' requires the # of bytes]"),
        ("db load 0", "e-[Command 'db load' must be >0 bytes]"),
        ("db load 513", "e-[Supplied buffer size 513 exceeds maximum of 512]"),
        ("db load 99999999999999999999", "e-[Supplied buffer size 9999999 exceeds maximum of 512]"),
        ("db 123", "e-[Insufficent number of hex digits]"),
        ("inferno", "e-[Unknown command: inferno]"),
        ("start", "e-[Unknown command: start]"),
        ("results", "e-[Status -11]"),
    ],
)
def test_wrong_commands(models: Models, command: str, reply: str) -> None:
    with serve(models.host(3)) as port, Wire(port) as wire:
        assert ask(wire, command) == [reply]


@pytest.mark.gcc
def test_wrong_inputs(models: Models) -> None:
    with serve(models.host(3)) as port, Wire(port) as wire:
        ask(wire, "db load 2")
        assert ask(wire, "db 0g") == ["e-[Invalid hex digit '0g']"]
        assert ask(wire, "db 01") == []
        assert ask(wire, "infer 1 0") == ["e-[Status -1]"]  # still loading
        ask(wire, "db 02")
        assert ask(wire, "infer 1 0") == ["e-[Status -1]"]  # one candidate announced, half of it there
        load(wire, encode_input(b"", (300,)))
        assert ask(wire, "infer 1 0") == ["e-[Status -3]"]  # outside the vocabulary
        load(wire, encode_input(b"x " * 100, (1,)))
        assert ask(wire, "infer 1 0")[-1] == "e-[Status -10]"  # longer than the context
        load(wire, encode_input(b"wake", (1,)))
        assert results_of(ask(wire, "infer 1 0")[-1]) == [1.0]
