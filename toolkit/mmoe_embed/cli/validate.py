"""`mmoe-embed validate`: prove on the board that every logit has the golden's bits."""

import datetime
import time
from pathlib import Path

import rich_click as click

from mmoe_embed.build_folder import PROMPTS, load_build
from mmoe_embed.cli.board_session import board_of, build_argument, flash_of, open_build, port_options
from mmoe_embed.cli.output import Result, progress_bar, verb
from mmoe_embed.errors import MismatchError, ToolkitError, UsageError
from mmoe_embed.golden import Golden
from mmoe_embed.golden_board import load_golden
from mmoe_embed.graph import build_graph
from mmoe_embed.junit import write_junit
from mmoe_embed.prompt import describe_long_prompt, load_requests
from mmoe_embed.report import Run, render_page
from mmoe_embed.validate import DEFAULT_PROMPTS, DEFAULT_STEPS, Prompt, Report, draw_prompts, validate_board
from mmoe_embed.validate_report import count_instructions, render_report
from mmoe_embed.whole_file import check_writable, write_whole


@verb("validate")
@build_argument
@port_options
@click.option("--prompts", type=click.Path(path_type=Path), help="Requests, one a line, or a .jsonl data set.")
@click.option("--steps", type=click.IntRange(min=1), default=DEFAULT_STEPS, show_default=True, help="At least so many.")
@click.option("--seed", type=int, default=0, show_default=True, help="For the random prompts.")
@click.option("--junit", type=click.Path(path_type=Path), help="Write JUnit XML to this file.")
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
) -> Result:
    """Feed the board that runs BUILD and the golden the same tokens; compare every bit of every logit."""
    folder = load_build(build)
    for file in filter(None, (junit, html)):
        check_writable(file)  # before the board is asked
    suite = f"mmoe-embed.validate.{Path(folder.board).stem}"
    began, started = datetime.datetime.now(datetime.UTC), time.monotonic()
    try:
        report, golden = _validate(build, port, baud, prompts, steps, seed)
    except ToolkitError as error:
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
    code = 0 if report.ok else MismatchError.exit_code
    return Result(data, render_report(report, board, flash_of(folder)), exit_code=code)


def _validate(
    build: Path, port: str | None, baud: int | None, prompts: Path | None, steps: int, seed: int
) -> tuple[Report, Golden]:
    folder = load_build(build)
    golden = load_golden(folder)
    if golden.model.model_id != folder.golden_id:
        raise UsageError("the build's quantized model is not the one it was made from", try_="build again")
    own = folder.path / PROMPTS
    chosen = prompts or (own if own.is_file() else None)
    plan = choose_prompts(golden, load_requests(chosen) if chosen else [], steps, seed)
    names = [op.name for op in build_graph(golden.config, folder.plan["chunk"]).ops]
    with (
        open_build(build, port, baud) as (_, board, client),
        progress_bar() as progress,
    ):
        task = progress.add_task(f"validate on {board.name}", total=sum(prompt.steps for prompt in plan))
        report = validate_board(
            client,
            golden,
            plan,
            plan=folder.plan,
            op_names=names,
            answer=golden.stream,
            on_step=lambda: progress.advance(task),
        )
    return report, golden


def choose_prompts(golden: Golden, requests: list[str], steps: int, seed: int) -> list[Prompt]:
    """Requests first, each with its answer, then random tokens until there are `steps` steps and 10 prompts."""
    context, vocab = golden.config.max_position_embeddings, golden.input_count
    generation = golden.model.generation
    prompts: list[Prompt] = []
    counted = 0
    for request in requests:
        tokens = golden.prompt_tokens(request)
        if len(tokens) > context:
            raise describe_long_prompt(len(tokens), context, request)
        most = min(context, len(tokens) + generation.max_new_tokens)
        encoded = tuple(golden.encode(request))
        prompts.append(Prompt(tuple(tokens), most, generation.stop_token, request, encoded))
        counted += len(tokens)  # the answer may be empty, so it is not counted on
        if counted >= steps and len(prompts) >= DEFAULT_PROMPTS:
            break
    left, least = steps - counted, DEFAULT_PROMPTS - len(prompts)
    if left > 0 or least > 0:
        prompts += draw_prompts(
            vocab_size=vocab, context=context, steps=max(left, least, 1), seed=seed, least=max(least, 1)
        )
    return prompts
