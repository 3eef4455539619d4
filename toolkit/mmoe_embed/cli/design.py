"""`mmoe-embed design`: which model a board should run, by a scaling law; the law, its fit, and runs to fit it to."""

import dataclasses
import os
from pathlib import Path
from typing import Any

import rich_click as click
from click import get_current_context

from mmoe_embed.board import load_board
from mmoe_embed.cli.options import ByteCount, check_output
from mmoe_embed.cli.output import Result, VerbGroup, progress_bar, training_extra, verb
from mmoe_embed.design.draw import draw_points
from mmoe_embed.design.law import CONSTANTS, Law, load_law
from mmoe_embed.design.refit import LEVEL, Refit, fit_law
from mmoe_embed.design.report import describe_design, draw_front, summarize_design, write_recipe
from mmoe_embed.design.runs import read_runs
from mmoe_embed.design.search import DesignRequest, search_design
from mmoe_embed.emit.writer import write_files
from mmoe_embed.errors import UsageError

_law_option = click.option(
    "--law",
    default="watch",
    show_default=True,
    help="watch: fitted to this project's small runs; paper: MobileMoE's, far above; or a law.json of `design fit`.",
)


@click.group("design", cls=VerbGroup)
@click.option("--board", "-b", metavar="BOARD", help="A board's name, or the path of its TOML file.")
@click.option(
    "--latency",
    "tokens_per_s",
    type=click.FloatRange(min=0, min_open=True),
    metavar="TOKENS_PER_S",
    help="Decode at least so fast, an instruction counted as a cycle.",
)
@click.option(
    "--context",
    type=click.IntRange(min=16, max=8192),
    default=256,
    show_default=True,
    metavar="N",
    help="Tokens of prompt and answer together.",
)
@click.option(
    "--tokens",
    type=click.IntRange(min=1),
    default=3_000_000,
    show_default=True,
    metavar="D",
    help="Tokens that it will be trained on.",
)
@click.option("--vocabulary", type=click.IntRange(min=260, max=65535), default=1024, show_default=True, metavar="V")
@click.option("--sram", "sram_bytes", type=ByteCount(), metavar="BYTES", help="Use at most this much SRAM, e.g. 128K.")
@_law_option
@click.option(
    "--source",
    default="corpus/*.txt",
    show_default=True,
    metavar="PATH",
    help="Text that the recipe trains on, relative to it.",
)
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Folder for recipe.toml and front.svg.")
def command(board: str | None, law: str, source: str, output: Path | None, **limits: Any) -> Result | None:
    """Find the model with the lowest predicted loss that a board can run: layers, width, heads, experts, bits.

    Limits are the flash, the SRAM by the planner, and instructions and stall of a token. Prints the Pareto front and
    the limit that binds, and writes a recipe for `train`. Needs no compiler and no PyTorch.
    """
    if get_current_context().invoked_subcommand is not None:
        return None
    if board is None:
        raise UsageError("a design is for a board", try_="mmoe-embed design --board BOARD, or a subcommand: --help")
    target = load_board(board)
    design = search_design(target, load_law(law), DesignRequest(**limits))
    text = summarize_design(target, design)
    if output is not None:
        files = {"recipe.toml": write_recipe(design, source), "front.svg": draw_front(target, design)}
        write_files({name: content.encode() for name, content in files.items()}, check_output(output))
        text += f"\nwritten: {output / 'recipe.toml'}, {output / 'front.svg'}"
    return Result(describe_design(design), text)


@verb("law")
@_law_option
@click.option("--active", type=click.IntRange(min=1), metavar="N", help="Active parameters. Default: of the fit.")
@click.option("--tokens", type=click.IntRange(min=1), metavar="D", help="Tokens of training. Default: of the fit.")
@click.option("--granularity", type=click.IntRange(min=1), default=4, show_default=True)
@click.option("--shared/--no-shared", default=True, show_default=True, help="With a shared expert.")
def law_command(law: str, active: int | None, tokens: int | None, granularity: int, shared: bool) -> Result:
    """A law's constants, and the loss it predicts over the number of experts."""
    chosen = load_law(law)
    size = active or round((chosen.fitted.active[0] * chosen.fitted.active[1]) ** 0.5)
    data = tokens or round((chosen.fitted.tokens[0] * chosen.fitted.tokens[1]) ** 0.5)
    losses = {e: float(chosen.loss(size, data, e, granularity, shared)) for e in (1, 2, 4, 8, 16, 32)}
    lines = [f"law: {chosen.name}", _constants(chosen)]
    lines += [f"at {size:,} active parameters, {data:,} tokens, granularity {granularity}, shared expert: {shared}"]
    lines += [f"  E = {experts:<3} {loss:.4f}" for experts, loss in losses.items()]
    lines += [f"note: {line}" for line in chosen.outside(size, data, 1, granularity)]
    found = {"active": size, "tokens": data, "granularity": granularity, "shared": shared, "losses": losses}
    return Result({"law": dataclasses.asdict(chosen), **found}, "\n".join(lines))


@verb("fit")
@click.argument("runs", type=click.Path(path_type=Path))
@click.option("--name", help="Of the law. Default: what RUNS is called, and how many runs.")
@click.option("--samples", type=click.IntRange(min=10), default=200, show_default=True, help="Of the bootstrap.")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Folder for law.json and residuals.svg.")
def fit_command(runs: Path, name: str | None, samples: int, output: Path | None) -> Result:
    """Fit the law to RUNS: a folder with runs of `train` or `design sweep`, or a CSV of runs.

    Huber loss on log losses; intervals by drawing the runs anew, with replacement.
    """
    read = read_runs(runs)
    fit = fit_law(read, name or f"{runs.name}, {len(read)} runs", samples=samples)
    text = _describe_fit(fit)
    if output is not None:
        files = {"law.json": fit.law.to_json(), "residuals.svg": draw_residuals(fit)}
        write_files({file: content.encode() for file, content in files.items()}, check_output(output))
        text += f"\nwritten: {output / 'law.json'}, {output / 'residuals.svg'}"
    data = {
        "law": dataclasses.asdict(fit.law),
        "intervals": {constant: dataclasses.asdict(interval) for constant, interval in fit.intervals.items()},
        "findings": dataclasses.asdict(fit.findings),
        "residuals": {run.name: round(float(r), 5) for run, r in zip(fit.runs, fit.residuals, strict=True)},
        "left_out": [run.name for run in fit.left_out],
    }
    return Result(data, text)


@verb("sweep")
@click.argument("grid", type=click.Path(path_type=Path))
@click.option("--output", "-o", type=click.Path(path_type=Path), required=True, help="Folder for runs and runs.csv.")
@click.option("--parallel", type=click.IntRange(min=1), metavar="N", help="Runs at a time. Default: one for each core.")
def sweep_command(grid: Path, output: Path, parallel: int | None) -> Result:
    """Train every run of GRID (a recipe with [[grid]] tables) that is not finished yet.

    The same command goes on with an interrupted sweep. On many machines: torchrun ... -m mmoe_embed design sweep, with
    one folder for all of them.
    """
    with training_extra():
        from mmoe_embed.design.sweep import run_sweep  # noqa: PLC0415 - PyTorch is an extra
    with progress_bar() as progress:
        task = progress.add_task("runs", total=None)

        def show(done: int, jobs: int) -> None:
            progress.update(task, completed=done, total=jobs)

        processes = parallel or max(1, (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
        result = run_sweep(grid, check_output(output), parallel=processes, on_done=show)
    failed = [f"\n{name}: {message}" for name, message in result.failed.items()]
    return Result(
        {"csv": str(result.csv), "finished": result.finished, "jobs": result.jobs, "failed": result.failed},
        f"{result.csv}: {result.finished} of {result.jobs} runs{''.join(failed)}",
        exit_code=1 if failed else 0,
    )


for _command in (law_command, fit_command, sweep_command):
    command.add_command(_command)


def draw_residuals(fit: Refit) -> str:
    """Predicted less measured loss of each run over the measured loss, by E, as SVG."""
    series: dict[str, list[tuple[float, float]]] = {}
    for run, residual in sorted(zip(fit.runs, fit.residuals, strict=True), key=lambda pair: pair[0].at.experts):
        series.setdefault(f"E = {run.at.experts:g}", []).append((run.loss, float(residual)))
    labels = ("measured loss, nats a token", "predicted less measured")
    return draw_points(f"residuals, root mean square {fit.law.rmse:.4f}", labels, series)


def _constants(law: Law) -> str:
    return "  " + ", ".join(f"{name} {getattr(law, name):.4g}" for name in CONSTANTS) + f"; unit {law.unit:g}"


def _describe_fit(fit: Refit) -> str:
    lines = [f"law: {fit.law.name}; root mean square {fit.law.rmse:.4f} nats a token, {LEVEL:.0%} intervals"]
    lines += [f"  {name:<6} {interval}" for name, interval in fit.intervals.items()]
    if fit.left_out:
        lines.append(f"left out: {len(fit.left_out)} runs with one chosen expert a token, whose router learns nothing")
    return "\n".join([*lines, fit.findings.summary()])
