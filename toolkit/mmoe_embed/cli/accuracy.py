"""`mmoe-embed accuracy`: score a data set on the board."""

import dataclasses
from pathlib import Path

import rich_click as click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mmoe_embed.accuracy import Accuracy, ResultsFile, default_results_file, measure_accuracy
from mmoe_embed.build_folder import load_build
from mmoe_embed.cli.board_session import build_argument, open_build, port_options
from mmoe_embed.cli.output import Result, console, verb
from mmoe_embed.prompt import load_pairs

_WRONG_SHOWN = 5


@verb("accuracy")
@build_argument
@click.argument("dataset", type=click.Path(path_type=Path))
@port_options
@click.option("--results", type=click.Path(path_type=Path), help="Default: accuracy-DATASET.jsonl in BUILD.")
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many lines.")
@click.option("--fresh", is_flag=True, help="Forget the answers of earlier runs.")
def command(
    build: Path,
    dataset: Path,
    port: str | None,
    baud: int | None,
    results: Path | None,
    limit: int | None,
    fresh: bool,
) -> Result:
    """Ask the board every prompt of DATASET (JSON lines of prompt and completion) and count exact matches.

    An interrupted run goes on where it was when the same command is given again.
    """
    total = len(load_pairs(dataset)[:limit])
    file = results or default_results_file(build, dataset)
    folder = load_build(build)
    if fresh:
        file.unlink(missing_ok=True)
    kept = ResultsFile(file, folder.build_id, dataset)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[rate]}"),
    )
    with (
        open_build(build, port, baud) as (_, _, client),
        Progress(*columns, console=console, transient=True) as progress,
    ):
        task = progress.add_task("accuracy", total=total, rate="")

        def show(state: Accuracy) -> None:
            progress.update(task, completed=state.total, rate=f"{100 * state.rate:.1f} %")

        accuracy = measure_accuracy(client, dataset, kept, limit=limit, on_answer=show)
    return Result(
        {
            "total": accuracy.total,
            "correct": accuracy.correct,
            "exact_match": accuracy.rate,
            "results": str(file),
            "wrong": [dataclasses.asdict(answer) for answer in accuracy.answers if not answer.correct],
        },
        _render(accuracy, file),
    )


def _render(accuracy: Accuracy, file: Path) -> str:
    lines = [f"exact match: {accuracy.correct} of {accuracy.total} ({100 * accuracy.rate:.2f} %)"]
    wrong = [answer for answer in accuracy.answers if not answer.correct]
    for answer in wrong[:_WRONG_SHOWN]:
        said = answer.error or repr(answer.answer)
        lines.append(f"  {answer.prompt!r} -> {said}, expected {answer.expected!r}")
    if len(wrong) > _WRONG_SHOWN:
        lines.append(f"  and {len(wrong) - _WRONG_SHOWN} more")
    return "\n".join([*lines, f"every answer: {file}"])
