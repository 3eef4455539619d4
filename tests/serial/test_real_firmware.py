"""The real firmware, as a host program and in QEMU, on a good line and on a bad one."""

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_board import HostileLine
from verbs import Run

from mmoe_embed.board import load_board
from mmoe_embed.build_folder import BuildFolder
from mmoe_embed.errors import DeviceError
from mmoe_embed.golden import Golden
from mmoe_embed.quantized import load_quantized
from mmoe_embed.runners import start_board
from mmoe_embed.serial.client import BoardClient, StatusError
from mmoe_embed.serial.link import Link
from mmoe_embed.serial.port import Port
from mmoe_embed.validate import draw_prompts, validate_board

Connect = Callable[..., BoardClient]
STEPS = 60


@contextlib.contextmanager
def _start(build: BuildFolder) -> Iterator[str]:
    with start_board(load_board(build.board), build.elf) as url:
        yield url


@pytest.mark.gcc
def test_host_validate_and_run(host_build: BuildFolder, tmp_path: Path, run: Run) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("wake me at ten\ncall mum now\nünï 漢字\n")
    code, out, _ = run("validate", str(host_build.path), "--prompts", str(prompts), "--json")
    report = json.loads(out)["data"]
    assert (code, report["ok"]) == (0, True), [c for c in report["checks"] if not c["ok"]]
    assert report["comparison"]["equal_logits"] == report["comparison"]["steps"] >= 200
    assert report["comparison"]["prompts"] >= 10
    assert {"tokenizer", "answers"} <= {check["name"] for check in report["checks"]}
    golden = Golden(load_quantized(host_build.quantized))
    code, out, _ = run("run", str(host_build.path), "wake me at ten", "--json")
    assert json.loads(out)["data"]["answers"][0]["answer"] == golden.generate("wake me at ten")


@pytest.mark.gcc
@pytest.mark.parametrize("seed", [1, 2])
def test_host_validate_on_a_bad_line(host_build: BuildFolder, connect: Connect, seed: int) -> None:
    golden = Golden(load_quantized(host_build.quantized))
    faults = {"drop": 0.0005, "flip": 0.0005, "double": 0.0005, "cut": 0.005}
    with _start(host_build) as url, HostileLine(int(url.rpartition(":")[2]), faults, seed) as line:
        client = connect(line.url)
        client.identify(patience_s=20)
        prompts = draw_prompts(vocab_size=290, context=48, steps=STEPS, seed=seed, least=3)
        report = validate_board(client, golden, prompts, plan=host_build.plan)
    assert line.touched > 0
    assert report.retries > 0
    assert report.ok, [check for check in report.checks if not check.ok]
    assert report.comparison.equal_logits == STEPS


@pytest.mark.gcc
def test_host_refuses_what_it_must(host_build: BuildFolder, connect: Connect) -> None:
    with _start(host_build) as url:
        client = connect(url)
        client.identify()
        client.reset()
        for request, status in ((lambda: client.step(290), -3), (lambda: client.prompt("x " * 300), -10)):
            with pytest.raises(StatusError) as caught:
                request()
            assert caught.value.status == status
        client.reset()
        for _ in range(48):
            client.step(1)
        with pytest.raises(StatusError, match="context is full"):
            client.step(1)
        client.reset()
        assert client.step(1).position == 0


@pytest.mark.gcc
def test_host_killed_in_the_middle(host_build: BuildFolder, connect: Connect) -> None:
    with _start(host_build) as url:
        client = connect(url)
        client.identify()
        client.reset()
        client.step(1)
    with pytest.raises(DeviceError, match="gone"):
        client.step(1)


@pytest.mark.gcc
def test_host_build_against_another_board(host_build: BuildFolder, tmp_path: Path, run: Run) -> None:
    record = json.loads((host_build.path / "build.json").read_text())
    other = tmp_path / "other"
    shutil.copytree(host_build.path, other)
    (other / "build.json").write_text(json.dumps(record | {"build_id": "00" * 32}))
    with _start(host_build) as url:
        code, _, err = run("run", str(other), "hello", "--port", url)
    assert code == 6
    assert "another build" in err


@pytest.mark.arm
@pytest.mark.qemu
def test_m55_flash_and_validate(m55_build: BuildFolder, tmp_path: Path, run: Run) -> None:
    code, out, _ = run("flash", str(m55_build.path))
    assert code == 0
    assert "image fits: itcm" in out
    assert "started once in QEMU (nothing to write)" in out
    junit = tmp_path / "junit.xml"
    code, out, _ = run("validate", str(m55_build.path), "--steps", str(STEPS), "--junit", str(junit))
    assert code == 0, out
    assert f"logits bit-identical to the golden: {STEPS} of {STEPS} steps" in out
    assert "instructions a token" in out
    assert 'failures="0"' in junit.read_text()


@pytest.mark.arm
@pytest.mark.qemu
def test_m55_instructions_repeat(m55_build: BuildFolder) -> None:
    ticks = []
    for _ in range(2):
        with _start(m55_build) as url, Link(Port(url)) as link:
            client = BoardClient(link)
            client.identify()
            client.reset(empty_slots=True)
            ticks.append([client.step(token).ticks for token in (1, 2, 3)])
    assert all(abs(a - b) <= 0.02 * a for a, b in zip(*ticks, strict=True)), ticks
