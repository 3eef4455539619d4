"""A whole data set on a board: exact match and perplexity of its answers, resumable."""

import dataclasses
import hashlib
import json
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from mmoe_embed.config import ModelConfig
from mmoe_embed.errors import MismatchError, ToolkitError, UsageError
from mmoe_embed.prompt import load_pairs
from mmoe_embed.quantized import Quantized
from mmoe_embed.serial.client import StatusError, TextTooLongError
from mmoe_embed.serial.replies import NextToken, Score, Step
from mmoe_embed.signals import Signals, cut_windows, read_signals
from mmoe_embed.tokens import Tokens

FORMAT = 2
_TEXT_STATUS = -10
_CONTEXT_STATUS = -2


class Board(Protocol):
    """What is asked: `BoardClient` over a port, or `GoldenBoard` on this machine."""

    def reset(self, *, empty_slots: bool = False) -> object:
        """Empty the context, and the expert slots on demand."""

    def prompt(self, text: str) -> int:
        """Start a request."""

    def step(self, token: int) -> object:
        """Feed one token."""

    def next_token(self) -> NextToken:
        """The next token of the answer."""

    def classify(self, windows: NDArray[np.float32]) -> Step:
        """Feed windows to a classifier."""

    def score(self, token: int) -> Score:
        """The probability that the last step gave to a token."""


@dataclasses.dataclass(frozen=True)
class Answer:
    """One line of the data set, or recording of a classifier's, and what the board said to it.

    Attributes:
        line: from 0.
        tokens: of the expected answer, the one that ends it included.
        log_probability: natural logarithm, of the expected answer; None where it does not fit the context.
        error: why the board refused the prompt.
    """

    line: int
    prompt: str
    expected: str
    answer: str
    correct: bool
    tokens: int = 0
    log_probability: float | None = None
    error: str = ""


@dataclasses.dataclass(frozen=True)
class Accuracy:
    """Exact match and perplexity over a data set."""

    total: int
    correct: int
    answers: tuple[Answer, ...]

    @property
    def rate(self) -> float:
        """Correct answers, 0..1."""
        return self.correct / self.total if self.total else 0.0

    @property
    def scored_tokens(self) -> int:
        """Tokens of expected answers that the perplexity is over."""
        return sum(answer.tokens for answer in self.answers if answer.log_probability is not None)

    @property
    def perplexity(self) -> float | None:
        """exp of the mean negative log probability of a token of the expected answers; None without any."""
        scored = [answer.log_probability for answer in self.answers if answer.log_probability is not None]
        return math.exp(-math.fsum(scored) / self.scored_tokens) if self.scored_tokens else None


class ResultsFile:
    """Answers so far, one JSON object a line under a header that says what they are answers to.

    A half line at the end, from an interrupted run, is cut off.
    """

    def __init__(self, file: Path, build_id: str, dataset: Path, *, fresh: bool = False) -> None:
        self._file = file
        sha256 = hashlib.sha256(dataset.read_bytes()).hexdigest()
        self._header = {"format": FORMAT, "build_id": build_id, "dataset_sha256": sha256}
        self.answers: dict[int, Answer] = {}
        if file.exists() and not file.is_file():
            raise UsageError("results are kept in a file that can be read again", at=str(file), try_="--results FILE")
        if fresh:
            file.unlink(missing_ok=True)
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
        except (ValueError, RecursionError):
            raise self._foreign() from None
        for key, value in self._header.items():
            if not isinstance(header, dict) or header.get(key) != value:
                found = header.get(key) if isinstance(header, dict) else None
                raise MismatchError(
                    f"the results are of another {key}: {str(found)[:12]}, now {str(value)[:12]}",
                    at=str(self._file),
                    try_="--fresh starts over, --results FILE keeps both",
                )
        try:
            self.answers = {answer.line: answer for answer in msgspec.convert(records, list[Answer])}
        except msgspec.ValidationError:
            raise self._foreign() from None
        if len(complete) < len(data):
            self._file.write_bytes(complete)

    def _foreign(self) -> ToolkitError:
        return ToolkitError(
            "this is no results file of mmoe-embed accuracy", at=str(self._file), try_="choose another --results file"
        )


def default_results_file(build: Path, dataset: Path) -> Path:
    """Where results go when the user does not say."""
    return build / f"accuracy-{dataset.stem}.jsonl"


def measure_accuracy(
    board: Board,
    model: Quantized,
    dataset: Path,
    results: ResultsFile,
    *,
    limit: int | None = None,
    empty_slots: bool = False,
    on_answer: Callable[[Accuracy], None] = lambda _: None,
) -> Accuracy:
    """Ask the board every prompt that has no answer yet.

    Args:
        board: whose build is checked.
        model: what it runs, for the tokens of expected answers.
        dataset: JSON lines of prompt and completion; of a classifier, signals (`mmoe_embed.signals.read_signals`).
        results: answers of earlier runs; new ones are added.
        limit: only the first so many lines.
        empty_slots: before each request: where routing looks at them, its answer is then a function of the request.
        on_answer: called after each answer with the state so far.

    Raises:
        DeviceError: the board fails; the answers so far are kept.
    """
    questions = open_questions(dataset, model, limit)
    for line in range(len(questions)):
        if line not in results.answers:
            results.append(questions.ask(board, line, empty_slots))
            on_answer(_sum_up(results, len(questions)))
    return _sum_up(results, len(questions))


def open_questions(dataset: Path, model: Quantized, limit: int | None = None) -> "Requests | Recordings":
    """What a data set asks of a model.

    Raises:
        ToolkitError: no such file, or one that is not of this model's kind.
    """
    if model.config.is_classifier:
        return Recordings(read_signals(dataset, model.config), model.config, limit)
    return Requests(load_pairs(dataset)[:limit], model)


class Requests:
    """Prompts and the answers that are expected."""

    def __init__(self, pairs: Sequence[tuple[str, str]], model: Quantized) -> None:
        self._pairs, self._model, self._tokens = pairs, model, Tokens(model.tokenizer)

    def __len__(self) -> int:
        return len(self._pairs)

    def ask(self, board: Board, line: int, empty_slots: bool) -> Answer:
        """One of them."""
        prompt, expected = self._pairs[line]
        target = [*self._tokens.encode(expected), self._model.generation.stop_token]
        question = Answer(line, prompt, expected, "", correct=False, tokens=len(target))
        return _ask(board, question, target, empty_slots)


class Recordings:
    """Signals and the classes that they are of."""

    def __init__(self, signals: Signals, config: ModelConfig, limit: int | None) -> None:
        self._signals, self._config = signals, config
        self._count = len(signals) if limit is None else min(limit, len(signals))

    def __len__(self) -> int:
        return self._count

    def ask(self, board: Board, line: int, empty_slots: bool) -> Answer:
        """One of them."""
        names, label = self._signals.classes, int(self._signals.labels[line])
        board.reset(empty_slots=empty_slots)
        found = board.classify(cut_windows(self._signals.values[line], self._config)).argmax
        probability = board.score(label).log_probability
        prompt = f"recording {line}"
        return Answer(line, prompt, names[label], names[found], found == label, 1, probability)


def _ask(board: Board, question: Answer, target: Sequence[int], empty_slots: bool) -> Answer:
    """The board's own answer, and how probable the expected one is.

    As long as the answer goes as expected, its own steps give the probabilities; from where it does not, the expected
    tokens are fed instead.
    """
    try:
        _start(board, question.prompt, empty_slots)
    except TextTooLongError as error:
        return dataclasses.replace(question, error=error.message)
    except StatusError as error:
        if error.status not in (_TEXT_STATUS, _CONTEXT_STATUS):
            raise
        return dataclasses.replace(question, error=error.message)
    scores: list[float] = []
    text = b""
    token, as_expected = None, True
    while token is None or not token.done:
        as_expected = as_expected and len(scores) < len(target)
        if as_expected:
            scores.append(board.score(target[len(scores)]).log_probability)
        token = board.next_token()
        as_expected = as_expected and token.token == target[len(scores) - 1]
        text += token.text
    answer = text.decode("utf-8", "replace")
    try:
        if len(scores) < len(target):
            _start(board, question.prompt, empty_slots)
            scores += _score_rest(board, target, len(scores))
        total: float | None = math.fsum(scores)
    except StatusError as error:
        if error.status != _CONTEXT_STATUS:
            raise
        total = None
    correct = answer.strip() == question.expected.strip()
    return dataclasses.replace(question, answer=answer, correct=correct, log_probability=total)


def _start(board: Board, prompt: str, empty_slots: bool) -> None:
    if empty_slots:
        board.reset(empty_slots=True)
    board.prompt(prompt)


def _score_rest(board: Board, target: Sequence[int], known: int) -> list[float]:
    """Log probabilities of target[known:] after a prompt that has just been taken and the tokens before."""
    scores = []
    for index, token in enumerate(target):
        if index >= known:
            scores.append(board.score(token).log_probability)
        if index + 1 < len(target):
            board.step(token)
    return scores


def _sum_up(results: ResultsFile, count: int) -> Accuracy:
    answers = tuple(results.answers[line] for line in range(count) if line in results.answers)
    return Accuracy(len(answers), sum(answer.correct for answer in answers), answers)
