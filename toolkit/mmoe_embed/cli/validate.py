"""`mmoe-embed validate`: prove on the board that every logit has the golden's bits."""

import datetime
import functools
import time
from pathlib import Path

import rich_click as click

from mmoe_embed.build_folder import BuildFolder, load_build
from mmoe_embed.cli.board_session import board_of, build_argument, flash_of, open_build, port_options
from mmoe_embed.cli.extras import load_program_verbs
from mmoe_embed.cli.output import Result, check_reports, progress_bar, verb
from mmoe_embed.errors import MismatchError, ToolkitError, UsageError
from mmoe_embed.executorch.program_file import check_program
from mmoe_embed.golden import Golden
from mmoe_embed.golden_board import load_golden
from mmoe_embed.graph import build_graph
from mmoe_embed.junit import write_junit
from mmoe_embed.prompt import load_requests
from mmoe_embed.report import Run, render_page
from mmoe_embed.validate import DEFAULT_STEPS, Report
from mmoe_embed.validate_build import choose_prompts, own_requests, validate_build
from mmoe_embed.validate_report import count_instructions, render_report
from mmoe_embed.whole_file import write_whole


@verb("validate")
@build_argument
@port_options
@click.option("--prompts", type=click.Path(path_type=Path), help="Requests, one a line, or a .jsonl data set.")
@click.option("--steps", type=click.IntRange(min=1), default=DEFAULT_STEPS, show_default=True, help="At least so many.")
@click.option("--seed", type=int, default=0, show_default=True, help="For the random prompts.")
@click.option("--junit", type=click.Path(path_type=Path), help="Write JUnit XML to this file.")
@click.option(
    "--runtime",
    type=click.Choice(["firmware", "executorch"]),
    default="firmware",
    show_default=True,
    help="What computes.",
)
@click.option("--checkpoint", type=click.Path(path_type=Path), help="With --runtime executorch: what BUILD comes from.")
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    help="With --runtime executorch and a program that is not bit-exact: the largest difference of a logit.",
)
@click.option("--html", type=click.Path(path_type=Path), help="Write a one-page report to this file.")
def command(
    build: Path,
    port: str | None,
    baud: int | None,
    prompts: Path | None,
    steps: int,
    seed: int,
    junit: Path | None,
    html: Path | None,
    runtime: str,
    checkpoint: Path | None,
    tolerance: float | None,
) -> Result:
    """Feed the board that runs BUILD and the golden the same tokens; compare every bit of every logit.

    With --runtime executorch BUILD is a .pte of `mmoe-embed export`, and CHECKPOINT what it was made from.
    """
    if runtime == "executorch":
        if checkpoint is None:
            raise UsageError("the golden of a program is made from its checkpoint", try_="--checkpoint FOLDER")
        if port or html or junit:
            raise UsageError("--port, --junit and --html are for boards", try_="leave them out, or --runtime firmware")
        check_program(build)
        requests = load_requests(prompts) if prompts else []
        choose = functools.partial(choose_prompts, requests=requests, steps=steps, seed=seed)
        of_program: Result = load_program_verbs().validate_program(build, checkpoint, choose, tolerance)
        return of_program
    if tolerance is not None:
        raise UsageError("--tolerance is for programs: a board's bits are compared", try_="leave it out")
    folder = load_build(build)
    check_reports(junit, html)
    suite = f"mmoe-embed.validate.{Path(folder.board).stem}"
    began, started = datetime.datetime.now(datetime.UTC), time.monotonic()
    try:
        report, golden = _validate(folder, port, baud, prompts, steps, seed)
    except (ToolkitError, KeyboardInterrupt) as error:  # an older report must not stand for this run
        if junit:
            write_junit(junit, suite, None, error)
        raise
    run = Run(port or "", f"{began:%Y-%m-%d %H:%M} UTC", time.monotonic() - started)
    if junit:
        write_junit(junit, suite, report)
    board = board_of(folder)
    if html:
        write_whole(html, render_page(report, board, folder, build_graph(golden.config).ops, run).encode())
    ticks = report.comparison.ticks
    mean = count_instructions(sum(ticks) / len(ticks), report.identity.tick_hz, board) if ticks else None
    data = report.to_dict() | {"instructions_per_token": mean}
    failed = "; ".join(f"{check.name}: {check.detail}" for check in report.checks if not check.ok)
    code = MismatchError.exit_code if failed else 0
    return Result(data, render_report(report, board, flash_of(folder)), exit_code=code, failure=failed)


def _validate(
    folder: BuildFolder, port: str | None, baud: int | None, prompts: Path | None, steps: int, seed: int
) -> tuple[Report, Golden]:
    golden = load_golden(folder)
    if golden.model.model_id != folder.golden_id:
        raise UsageError("the build's quantized model is not the one it was made from", try_="build again")
    requests = load_requests(prompts) if prompts else own_requests(folder)
    plan = choose_prompts(golden, requests, steps, seed)
    with open_build(folder.path, port, baud) as (_, board, client), progress_bar() as progress:
        task = progress.add_task(f"validate on {board.name}", total=sum(prompt.steps for prompt in plan))
        report = validate_build(client, folder, golden, plan, on_step=lambda: progress.advance(task))
    return report, golden
