"""`accuracy`: exact match and perplexity on a board, resumed after an interruption, the same as on the host to the bit."""

import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from verbs import Run

from mmoe_embed.accuracy import Accuracy, Answer, ResultsFile, measure_accuracy
from mmoe_embed.board import load_board
from mmoe_embed.build_folder import BuildFolder
from mmoe_embed.cli.accuracy import Progress, describe_duration
from mmoe_embed.errors import DeviceError
from mmoe_embed.golden import Golden
from mmoe_embed.golden_board import GoldenBoard
from mmoe_embed.quantized import load_quantized
from mmoe_embed.runners import start_board
from mmoe_embed.serial.replies import NextToken, Score


@pytest.fixture
def dataset(host_build: BuildFolder, tmp_path: Path) -> Path:
    """Answers the model gives, one that goes wrong in the middle, one that never fits, one prompt that is refused."""
    golden = Golden(load_quantized(host_build.quantized))
    right = [(prompt, golden.generate(prompt)) for prompt in ("wake me at ten", "call mum now", "set a timer")]
    pairs = [*right, ("wake me", golden.generate("wake me")[:2] + "zz"), ("call", "x y " * 40), ("w " * 60, "?")]
    file = tmp_path / "set.jsonl"
    file.write_text("".join(json.dumps({"prompt": p, "completion": c}) + "\n" for p, c in pairs))
    return file


def _records(file: Path) -> list[dict[str, object]]:
    header, *records = (json.loads(line) for line in file.read_text().splitlines())
    assert header["format"] == 2
    return records


@pytest.mark.gcc
def test_accuracy_resumes_and_is_the_hosts(host_build: BuildFolder, dataset: Path, run: Run, tmp_path: Path) -> None:
    results = tmp_path / "board.jsonl"
    with start_board(load_board(host_build.board), host_build.elf) as url:
        arguments = ("accuracy", str(host_build.path), str(dataset), "--port", url, "--results", str(results))
        code, out, _ = run(*arguments, "--limit", "1")
        assert (code, out.splitlines()[0]) == (0, "exact match: 1 of 1 (100.00 %)")
        first = results.read_text()
        with results.open("a") as stream:
            stream.write('{"line": 1, "prom')  # interrupted in the middle of a line
        data = json.loads(run(*arguments, "--json")[1])["data"]
    assert results.read_text().startswith(first)  # what was there was not asked again
    assert (data["total"], data["correct"]) == (6, 3)
    records = _records(results)
    assert [record["line"] for record in records] == [0, 1, 2, 3, 4, 5]
    assert records[3]["log_probability"] is not None
    assert records[4]["log_probability"] is None
    assert "MMOE_E_TEXT" in str(records[5]["error"])

    on_host = tmp_path / "host.jsonl"
    code, out, _ = run("accuracy", str(host_build.path), str(dataset), "--host", "--results", str(on_host), "--json")
    assert on_host.read_text() == results.read_text()
    assert json.loads(out)["data"]["perplexity"] == data["perplexity"]


@pytest.mark.arm
@pytest.mark.qemu
def test_accuracy_on_an_emulated_board_is_the_hosts(m55_build: BuildFolder, dataset: Path, run: Run) -> None:
    outputs = [
        json.loads(run("accuracy", str(m55_build.path), str(dataset), "--fresh", "--json", *where)[1])["data"]
        for where in ([], ["--host"])
    ]
    assert outputs[0] == outputs[1]
    assert outputs[0]["total"] == 6


@pytest.mark.gcc
def test_perplexity_is_that_of_the_logits(host_build: BuildFolder, dataset: Path, tmp_path: Path) -> None:
    golden = Golden(load_quantized(host_build.quantized))
    results = ResultsFile(tmp_path / "r.jsonl", host_build.build_id, dataset)
    accuracy = measure_accuracy(GoldenBoard(golden), golden.model, dataset, results, limit=4)
    total, count = 0.0, 0
    for answer in accuracy.answers:
        golden.reset()
        for token in golden.prompt_tokens(answer.prompt):
            logits = golden.step(token)
        target = [*golden.encode(answer.expected), golden.model.generation.stop_token]
        for token in target:
            z = logits.astype(np.float64)
            total += z[token] - z.max() - math.log(np.exp(z - z.max()).sum())
            count += 1
            logits = golden.step(token)
    assert accuracy.scored_tokens == count
    assert accuracy.perplexity == pytest.approx(math.exp(-total / count), rel=1e-6)


def test_accuracy_of_another_dataset_or_build(host_build: BuildFolder, dataset: Path, run: Run, tmp_path: Path) -> None:
    results = tmp_path / "r.jsonl"
    arguments = ("accuracy", str(host_build.path), str(dataset), "--host", "--results", str(results), "--limit", "1")
    assert run(*arguments)[0] == 0
    text = results.read_text()
    dataset.write_text(dataset.read_text() + '{"prompt": "more", "completion": "erom"}\n')
    code, _, err = run(*arguments)
    assert code == 6
    assert "another dataset_sha256" in err
    assert run(*arguments, "--fresh")[0] == 0
    header = results.read_text().splitlines()[0]
    results.write_text(text.replace('"format": 2', '"format": 1'))
    assert run(*arguments)[0] == 6
    text = text.replace(text.splitlines()[0], header)
    for damage in ("nonsense\n", "[" * 100_000 + "\n", text.replace('"tokens": ', '"tokens": "many", "was": ')):
        results.write_text(damage)
        assert "no results file" in run(*arguments)[2]
    assert run(*arguments, "--port", "x")[0] == 2


class _Broken:
    """A board that fails at its third answer."""

    def __init__(self) -> None:
        self.prompts = 0

    def prompt(self, text: str) -> int:
        self.prompts += 1
        if self.prompts > 2:
            raise DeviceError("gone")
        return 1

    def step(self, token: int) -> None:
        raise AssertionError

    def next_token(self) -> NextToken:
        return NextToken(2, done=True, text=b"")

    def score(self, token: int) -> Score:
        return Score(0.0, 0.0, 1.0)


def test_answers_before_a_failure_are_kept(host_build: BuildFolder, tmp_path: Path) -> None:
    model = load_quantized(host_build.quantized)
    dataset = tmp_path / "empty.jsonl"
    dataset.write_text('{"prompt": "a", "completion": ""}\n' * 4)
    file = tmp_path / "r.jsonl"
    with pytest.raises(DeviceError, match="gone"):
        measure_accuracy(_Broken(), model, dataset, ResultsFile(file, "b", dataset))
    assert sorted(ResultsFile(file, "b", dataset).answers) == [0, 1]
    accuracy = Accuracy(2, 2, tuple(ResultsFile(file, "b", dataset).answers.values()))
    assert accuracy.perplexity == 1.0


def test_progress_tells_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr("mmoe_embed.cli.accuracy.console", Console(file=out))
    progress = Progress(1000, 400, terminal=False)
    answers = tuple(Answer(i, "", "", "", correct=i % 2 == 0, tokens=1, log_probability=-1.0) for i in range(500))
    state = Accuracy(500, 250, answers)
    # 100 answers of this run took 30 s, 500 are left
    line = progress.describe(state, progress._started + 30)
    assert line == "accuracy 500 of 1000, 50.0 % right, perplexity 2.718, about 2 min 30 s left"
    progress.update(state)
    assert out.getvalue() == ""  # a log gets few lines
    progress._said -= 60
    progress.update(state)
    assert out.getvalue().startswith("accuracy 500 of 1000")


@pytest.mark.parametrize(("seconds", "words"), [(0.4, "0 s"), (59.6, "1 min 0 s"), (7500, "2 h 5 min")])
def test_describe_duration(seconds: float, words: str) -> None:
    assert describe_duration(seconds) == words
