"""`mmoe-embed accuracy`: score a data set on the board."""

import contextlib
import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path

import rich_click as click

from mmoe_embed.accuracy import Accuracy, Board, ResultsFile, default_results_file, measure_accuracy, open_questions
from mmoe_embed.build_folder import load_build
from mmoe_embed.cli.board_session import build_argument, open_build, port_options
from mmoe_embed.cli.output import Result, console, verb
from mmoe_embed.errors import UsageError
from mmoe_embed.golden_board import GoldenBoard, load_golden

_WRONG_SHOWN = 5
_CHARACTERS_SHOWN = 80
_SECONDS_BETWEEN_LINES = {True: 0.5, False: 20.0}  # a terminal shows one line that changes, a log gets few


@verb("accuracy")
@build_argument
@click.argument("dataset", type=click.Path(path_type=Path))
@port_options
@click.option("--results", type=click.Path(path_type=Path), help="Default: accuracy-DATASET.jsonl in BUILD.")
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many lines.")
@click.option("--fresh", is_flag=True, help="Forget the answers of earlier runs.")
@click.option("--host", is_flag=True, help="Compute on this machine with the golden; the results are the same.")
def command(
    build: Path,
    dataset: Path,
    port: str | None,
    baud: int | None,
    results: Path | None,
    limit: int | None,
    fresh: bool,
    host: bool,
) -> Result:
    """Ask the board every prompt of DATASET (JSON lines of prompt and completion); exact match and perplexity.

    A classifier's DATASET is a safetensors file of recordings and their classes.
    An interrupted run goes on where it was when the same command is given again.
    """
    if host and port:
        raise UsageError("--host asks no board, so it takes no --port")
    file = results or default_results_file(build, dataset)
    folder = load_build(build)
    golden = load_golden(folder)
    total = len(open_questions(dataset, golden.model, limit))
    kept = ResultsFile(file, folder.build_id, dataset, fresh=fresh)
    with contextlib.ExitStack() as stack:
        board: Board
        board = GoldenBoard(golden) if host else stack.enter_context(open_build(build, port, baud))[2]
        progress = stack.enter_context(_show_progress(total, len(kept.answers)))
        accuracy = measure_accuracy(
            board,
            golden.model,
            dataset,
            kept,
            limit=limit,
            empty_slots=golden.slots is not None,
            on_answer=progress.update,
        )
    return Result(
        {
            "total": accuracy.total,
            "correct": accuracy.correct,
            "exact_match": accuracy.rate,
            "perplexity": accuracy.perplexity,
            "scored_tokens": accuracy.scored_tokens,
            "results": str(file),
            "wrong": [dataclasses.asdict(answer) for answer in accuracy.answers if not answer.correct],
        },
        _render(accuracy, file),
    )


class Progress:
    """Says how far it is and how long the rest will take, by the answers of this run alone."""

    def __init__(self, total: int, known: int, *, terminal: bool) -> None:
        self._total, self._known = total, known
        self._started = self._said = time.monotonic()
        self._pause_s = _SECONDS_BETWEEN_LINES[terminal]
        self._end = "\r" if terminal else "\n"

    def update(self, state: Accuracy) -> None:
        """Take the state after an answer."""
        now = time.monotonic()
        if now - self._said >= self._pause_s:
            self._said = now
            console.print(self.describe(state, now), end=self._end, markup=False)

    def describe(self, state: Accuracy, now: float) -> str:
        """The line."""
        fresh = max(1, state.total - self._known)
        left_s = (now - self._started) / fresh * (self._total - state.total)
        perplexity = f", perplexity {state.perplexity:.3f}" if state.perplexity else ""
        return (
            f"accuracy {state.total} of {self._total}, {100 * state.rate:.1f} % right{perplexity}, "
            f"about {describe_duration(left_s)} left"
        )


def describe_duration(seconds: float) -> str:
    """Two units at most: 12 s, 3 min 20 s, 2 h 5 min."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 1:
        return f"{rest} s"
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


@contextlib.contextmanager
def _show_progress(total: int, known: int) -> Iterator[Progress]:
    yield Progress(total, known, terminal=console.is_terminal)
    if console.is_terminal:
        console.print(" " * (console.width - 1), end="\r")


def _render(accuracy: Accuracy, file: Path) -> str:
    lines = [f"exact match: {accuracy.correct} of {accuracy.total} ({100 * accuracy.rate:.2f} %)"]
    if accuracy.perplexity is not None:
        lines.append(
            f"perplexity: {accuracy.perplexity:.4f} over {accuracy.scored_tokens} tokens of the expected answers"
        )
    unscored = [answer for answer in accuracy.answers if answer.log_probability is None]
    if unscored:
        lines.append(f"not in the perplexity: {len(unscored)} lines that do not fit the board's context")
    wrong = [answer for answer in accuracy.answers if not answer.correct]
    for answer in wrong[:_WRONG_SHOWN]:
        said = answer.error or _shorten(answer.answer)
        lines.append(f"  {_shorten(answer.prompt)} -> {said}, expected {_shorten(answer.expected)}")
    if len(wrong) > _WRONG_SHOWN:
        lines.append(f"  and {len(wrong) - _WRONG_SHOWN} more")
    return "\n".join([*lines, f"every answer: {file}"])


def _shorten(text: str) -> str:
    return repr(text if len(text) <= _CHARACTERS_SHOWN else f"{text[:_CHARACTERS_SHOWN]}...")
