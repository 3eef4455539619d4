"""The files for the MLPerf Tiny runner, and its two modes run over them against the real firmware."""

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml

from mmoe_embed.board import load_board
from mmoe_embed.build_folder import BuildFolder
from mmoe_embed.cli import main
from mmoe_embed.errors import DeviceError, ToolkitError
from mmoe_embed.golden import Golden
from mmoe_embed.mlperf import make_tasks
from mmoe_embed.quantized import load_quantized
from mmoe_embed.runners import start_board
from mmoe_embed.serial.port import Port

PAIRS = [("wake me at ten", "alarm"), ("call mum now", "call mum"), ("set a timer", "timer"), ("wake me", "alarm")] * 2


@pytest.fixture
def files(host_build: BuildFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    dataset = tmp_path / "set.jsonl"
    dataset.write_text("".join(json.dumps({"prompt": p, "completion": c}) + "\n" for p, c in PAIRS))
    with pytest.raises(SystemExit) as caught:
        main(["mlperf", str(host_build.path), str(dataset), "-o", str(tmp_path / "out"), "--iterations", "4", "--json"])
    assert caught.value.code == 0
    assert json.loads(capsys.readouterr().out)["data"]["classes"] == 3
    return tmp_path / "out"


class Runner:
    """The parts of the runner that meet a board (benchmark/runner: device_under_test.py, script.py, datasets.py)."""

    def __init__(self, folder: Path, port: Port, mode: str) -> None:
        self.port = port
        self.received = b""
        model = self._find_model()
        script = yaml.safe_load((folder / f"tests_{mode}.yaml").read_text()).get(model)
        assert script["model"] == model
        data = folder / "datasets" / model
        with (data / script["truth_file"]).open() as stream:
            rows = list(csv.DictReader(stream, fieldnames=["file", "classes", "class", "bytes_to_send", "stride"]))
        ((loop, steps),) = script["script"][0].items()
        assert steps[0] == "download"
        count, (iterations, warm_up) = int(loop.split()[1]), map(int, steps[1].split()[1:])
        self.results = []
        for row in rows[:count]:
            self._load((data / row["file"]).read_bytes())
            self.results.append((int(row["class"]), *self._infer(iterations, warm_up)))

    def ask(self, command: str) -> Iterator[str]:
        self.port.write(command.encode() + b"%")
        while True:
            while b"\n" not in self.received:
                data = self.port.read(5.0)
                assert data, f"no response to command {command}"
                self.received += data
            line, _, self.received = self.received.partition(b"\n")
            text = line.decode().strip("\r\0")
            if "m-ready" in text:
                return
            yield text

    def _find_model(self) -> str:
        found = [re.match(r"^m-(model|profile)-\[([^]]+)]$", line) for line in self.ask("profile")]
        return next(match[2] for match in found if match and match[1] == "model")

    def _load(self, data: bytes) -> None:
        list(self.ask(f"db load {len(data)}"))
        for at in range(0, len(data), 31):
            said = list(self.ask(f"db {data[at : at + 31].hex()}"))
        assert said == ["m-load-done"]

    def _infer(self, iterations: int, warm_up: int) -> tuple[int, list[float]]:
        """(microseconds, results)"""
        lines = list(self.ask(f"infer {iterations} {warm_up}"))
        start, end = (int(match[1]) for line in lines if (match := re.match(r"^m-lap-us-([0-9]+)$", line)))
        results = [match[1] for line in lines if (match := re.match(r"^m-results-\[([^]]+)\]$", line))]
        return end - start, [float(x) for x in results[0].split(",") if x.strip()]


@pytest.mark.gcc
def test_accuracy_mode_finds_the_goldens_answers(host_build: BuildFolder, files: Path) -> None:
    golden = Golden(load_quantized(host_build.quantized))
    candidates, tasks = make_tasks(golden.model, PAIRS)
    with start_board(load_board(host_build.board), host_build.elf) as url, Port(url) as port:
        results = Runner(files, port, "accuracy").results
    assert [label for label, _, _ in results] == [task.label for task in tasks]
    assert len(results) == len(PAIRS)
    for (prompt, _), (_, _, scores) in zip(PAIRS, results, strict=True):
        golden.reset()
        for token in golden.prompt_tokens(prompt):
            logits = golden.step(token)
        assert int(np.argmax(scores)) == int(np.argmax(logits[candidates]))
        assert abs(sum(scores) - 1) < 0.003  # the runner divides by the sum


@pytest.mark.gcc
def test_performance_mode_times_five_loops(host_build: BuildFolder, files: Path) -> None:
    with start_board(load_board(host_build.board), host_build.elf) as url, Port(url) as port:
        results = Runner(files, port, "performance").results
    assert len(results) == 5
    assert all(time_us > 0 for _, time_us, _ in results)


def test_devices_file_has_the_adapter_of_the_port(
    host_build: BuildFolder, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    assert yaml.safe_load((files / "devices.yaml").read_text()) == [
        {"name": "mmoe-embed", "type": "dut", "baud": 115200, "usb": {0x1209: 1}}
    ]
    adapter = SimpleNamespace(device="/dev/ttyACM7", vid=0x0483, pid=0x374B)
    monkeypatch.setattr("mmoe_embed.cli.mlperf.list_ports.comports", lambda include_links: [adapter])
    arguments = ["mlperf", str(host_build.path), str(tmp_path / "set.jsonl"), "-o", str(files), "--port"]
    with pytest.raises(SystemExit):
        main([*arguments, "/dev/ttyACM7"])
    assert yaml.safe_load((files / "devices.yaml").read_text())[0]["usb"] == {0x0483: 0x374B}
    with pytest.raises(SystemExit) as caught:
        main([*arguments, "/dev/ttyACM8"])
    assert caught.value.code == DeviceError.exit_code


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ([("a", "alarm"), ("b", "alarm")], "1 different"),
        ([("x" * 600, "alarm"), ("b", "call")], "605 B.*512 B"),
        ([("w " * 60, "alarm"), ("b", "call")], "the context is 48"),
    ],
)
def test_make_tasks_of_no_classification(host_build: BuildFolder, pairs: Any, words: str) -> None:
    with pytest.raises(ToolkitError, match=words):
        make_tasks(load_quantized(host_build.quantized), pairs)
