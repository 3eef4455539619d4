"""A whole data set on a board: exact match of its answers, resumable."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mmoe_embed.errors import MismatchError, ToolkitError
from mmoe_embed.prompt import load_pairs, stream_answer
from mmoe_embed.serial.client import BoardClient, StatusError, TextTooLongError

FORMAT = 1
_TEXT_STATUS = -10
_CONTEXT_STATUS = -2


@dataclasses.dataclass(frozen=True)
class Answer:
    """One line of the data set and what the board said to it; `error` where it refused the prompt."""

    line: int  # from 0
    prompt: str
    expected: str
    answer: str
    correct: bool
    error: str = ""


@dataclasses.dataclass(frozen=True)
class Accuracy:
    """Exact match over a data set."""

    total: int
    correct: int
    answers: tuple[Answer, ...]

    @property
    def rate(self) -> float:
        """Correct answers, 0..1."""
        return self.correct / self.total if self.total else 0.0


class ResultsFile:
    """Answers so far, one JSON object a line under a header that says what they are answers to.

    A half line at the end, from an interrupted run, is cut off.
    """

    def __init__(self, file: Path, build_id: str, dataset: Path) -> None:
        self._file = file
        sha256 = hashlib.sha256(dataset.read_bytes()).hexdigest()
        self._header = {"format": FORMAT, "build_id": build_id, "dataset_sha256": sha256}
        self.answers: dict[int, Answer] = {}
        if file.is_file() and file.stat().st_size:
            self._load()
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(self._header) + "\n", encoding="utf-8")

    def append(self, answer: Answer) -> None:
        """Keep an answer; it is on disk when this returns."""
        with self._file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(dataclasses.asdict(answer)) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        self.answers[answer.line] = answer

    def _load(self) -> None:
        data = self._file.read_bytes()
        complete = data[: data.rfind(b"\n") + 1]
        try:
            header, *records = (json.loads(line) for line in complete.splitlines())
            answers = [Answer(**record) for record in records]
        except (ValueError, TypeError):
            raise ToolkitError(
                "this is no results file of mmoe-embed accuracy",
                at=str(self._file),
                try_="choose another --results file",
            ) from None
        for key, value in self._header.items():
            if not isinstance(header, dict) or header.get(key) != value:
                found = header.get(key) if isinstance(header, dict) else None
                raise MismatchError(
                    f"the results are of another {key}: {str(found)[:12]}, now {str(value)[:12]}",
                    at=str(self._file),
                    try_="--fresh starts over, --results FILE keeps both",
                )
        if len(complete) < len(data):
            self._file.write_bytes(complete)
        self.answers = {answer.line: answer for answer in answers}


def default_results_file(build: Path, dataset: Path) -> Path:
    """Where results go when the user does not say."""
    return build / f"accuracy-{dataset.stem}.jsonl"


def measure_accuracy(
    client: BoardClient,
    dataset: Path,
    results: ResultsFile,
    *,
    limit: int | None = None,
    on_answer: Callable[[Accuracy], None] = lambda _: None,
) -> Accuracy:
    """Ask the board every prompt that has no answer yet.

    Args:
        client: a board whose build is checked.
        dataset: JSON lines of prompt and completion.
        results: answers of earlier runs; new ones are added.
        limit: only the first so many lines.
        on_answer: called after each answer with the state so far.

    Raises:
        DeviceError: the board fails; the answers so far are kept.
    """
    pairs = load_pairs(dataset)[:limit]
    for line, (prompt, expected) in enumerate(pairs):
        if line not in results.answers:
            results.append(_ask(client, line, prompt, expected))
            on_answer(_sum_up(results, pairs))
    return _sum_up(results, pairs)


def _ask(client: BoardClient, line: int, prompt: str, expected: str) -> Answer:
    try:
        text = "".join(stream_answer(client, prompt))
    except TextTooLongError as error:
        return Answer(line, prompt, expected, "", correct=False, error=error.message)
    except StatusError as error:
        if error.status not in (_TEXT_STATUS, _CONTEXT_STATUS):
            raise
        return Answer(line, prompt, expected, "", correct=False, error=error.message)
    return Answer(line, prompt, expected, text, correct=text.strip() == expected.strip())


def _sum_up(results: ResultsFile, pairs: Sequence[Any]) -> Accuracy:
    answers = tuple(results.answers[line] for line in range(len(pairs)) if line in results.answers)
    return Accuracy(len(answers), sum(answer.correct for answer in answers), answers)
