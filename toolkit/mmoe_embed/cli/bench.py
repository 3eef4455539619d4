"""`mmoe-embed bench`: measure kernels and whole models."""

import dataclasses
from pathlib import Path

import rich_click as click

from mmoe_embed.bench.baseline import Change, compare_counts, read_baseline, write_counts
from mmoe_embed.bench.measure import KernelCount, find_target, measure_cmsis_nn, measure_kernels
from mmoe_embed.bench.model import measure_model, render_cost
from mmoe_embed.bench.phone import Request, measure_builds, render
from mmoe_embed.build_folder import load_build
from mmoe_embed.cli.board_session import build_argument, open_build, port_options
from mmoe_embed.cli.options import ByteCount
from mmoe_embed.cli.output import Result, check_reports, verb
from mmoe_embed.quantized import load_quantized
from mmoe_embed.toolchain import COMPILERS


@click.group("bench")
def command() -> None:
    """Measure kernels and whole models."""


def _row(count: KernelCount) -> str:
    per_mac = f"{count.instructions_per_mac:9.3f}" if count.instructions else " " * 9
    return (
        f"{count.kernel:24} {count.rows:6}{count.columns:6}{count.batch:7}{count.cost:10}{per_mac}"
        f"{count.code_bytes:8}{count.stack_bytes:7}"
    )


def _change(change: Change) -> str:
    after = change.after
    return (
        f"{after.kernel:24} {after.rows:6}{after.columns:6}{after.batch:7}{change.before.cost:10} -> {after.cost}"
        f"  {100 * (change.ratio - 1):+.1f} %{'  LOST' if change.is_lost else ''}"
    )


@verb("kernels")
@click.option("--board", required=True, help="Core: qemu_mps3_an547, qemu_mps2_an386, host_x86_64...")
@click.option("--kernel", default="", help="Only this kernel.")
@click.option("--compiler", type=click.Choice(COMPILERS),
              help="Default: gcc (the board's), or zig where that is missing; clang on hosts only.")  # fmt: skip
@click.option("--baseline", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="CSV of an earlier run: what changed; fails where one loses more than 3 % or is gone.")  # fmt: skip
@click.option("--cmsis-nn", type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="A checkout of CMSIS-NN: count its matrix-vector products too, on the same core.")  # fmt: skip
@click.option("--save", type=click.Path(dir_okay=False, path_type=Path), help="Write the counts as CSV.")
def kernels(
    board: str, kernel: str, compiler: str | None, baseline: Path | None, cmsis_nn: Path | None, save: Path | None
) -> Result:
    """Count the instructions (hosts: nanoseconds) of every kernel."""
    check_reports(save)
    before = read_baseline(baseline, find_target(board), kernel) if baseline else []
    counts = measure_kernels(board, compiler or "", kernel)
    if save:
        write_counts(counts, save)
    data = {"board": board, "kernels": [dataclasses.asdict(count) for count in counts]}
    unit = "instr" if counts[0].instructions else "ns"
    head = f"{'kernel':24} {'rows':>6}{'cols':>6}{'batch':>7}{unit:>10}{'per MAC':>9}{'code':>8}{'stack':>7}"
    lines = [head, *map(_row, counts)]
    if cmsis_nn:
        theirs = measure_cmsis_nn(board, cmsis_nn, compiler or "")
        data["cmsis_nn"] = [dataclasses.asdict(count) for count in theirs]
        lines += ["", *map(_row, theirs)]
    compared = compare_counts(before, counts)
    if baseline:
        data["baseline"] = [
            {"kernel": c.after.kernel, "rows": c.after.rows, "columns": c.after.columns, "batch": c.after.batch,
             "before": c.before.cost, "after": c.after.cost, "ratio": round(c.ratio, 4)}
            for c in compared.changes
        ]  # fmt: skip
        data["missing"] = [dataclasses.asdict(count) for count in compared.missing]
        lines += ["", *map(_change, compared.changes), *(f"{c.label}  NOT MEASURED" for c in compared.missing)]
    return Result(data, "\n".join(lines), exit_code=1 if compared.failure else 0, failure=compared.failure)


@verb("model")
@build_argument
@port_options
@click.option("--tokens", type=click.IntRange(min=1), default=64, show_default=True, help="How many are run.")
def model(build: Path, port: str | None, baud: int | None, tokens: int) -> Result:
    """What a token costs on the board that runs BUILD: each operation, in decode and in prefill."""
    with open_build(build, port, baud) as (folder, board, client):
        cost = measure_model(client, board, load_quantized(folder.quantized), folder.plan, tokens)
    ratios = {
        "decode_ratio": cost.decode_ratio,
        "prefill_ratio": cost.prefill_ratio,
        "prediction_error": cost.prediction_error,
    }
    return Result(dataclasses.asdict(cost) | ratios, render_cost(cost))


@verb("phone")
@click.argument("builds", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--threads", type=click.IntRange(1, 16), default=2, show_default=True, help="Of each program.")
@click.option("--prefill", type=click.IntRange(min=1), default=256, show_default=True, help="Tokens of the prompt.")
@click.option("--context", "contexts", type=click.IntRange(min=1), multiple=True, default=(256, 1024),
              show_default=True, help="Tokens before those that are decoded; may be given often.")  # fmt: skip
@click.option("--tokens", type=click.IntRange(min=1), default=16, show_default=True, help="Decoded at each context.")
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="Of all builds in turn.")
@click.option("--limit", type=ByteCount(), metavar="BYTES",
              help="Memory of a program, the pages of its files included: a cgroup, so as root.")  # fmt: skip
def phone(
    builds: tuple[Path, ...], threads: int, prefill: int, contexts: tuple[int, ...], tokens: int, rounds: int,
    limit: int | None,
) -> Result:  # fmt: skip
    """Speed of host programs (BUILDS) against the first of them, and against this machine's memory: ratios only."""
    request = Request(threads, prefill, tuple(sorted(contexts)), tokens, rounds, limit)
    measured = measure_builds([load_build(build) for build in builds], request)
    return Result(dataclasses.asdict(measured), render(measured))


command.add_command(phone)
command.add_command(kernels)
command.add_command(model)
