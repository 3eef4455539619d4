"""`mmoe-embed trace`: record which experts a board uses."""

from pathlib import Path

import rich_click as click

from mmoe_embed.build_folder import PROMPTS, load_build
from mmoe_embed.cli.board_session import build_argument, open_build, port_options
from mmoe_embed.cli.output import Result, progress_bar, verb
from mmoe_embed.errors import UsageError
from mmoe_embed.golden_board import load_golden
from mmoe_embed.paging.record import TraceFile, describe_trace, record_trace
from mmoe_embed.paging.trace import Trace, read_trace
from mmoe_embed.prompt import load_requests


@verb("trace")
@build_argument
@port_options
@click.option("--prompts", type=click.Path(path_type=Path), help="Requests, one a line, or a .jsonl data set.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N prompts.")
@click.option("--output", "-o", type=click.Path(path_type=Path), required=True, help="The trace, a CSV file.")
@click.option("--fresh", is_flag=True, help="Forget what an earlier run recorded.")
def command(
    build: Path, port: str | None, baud: int | None, prompts: Path | None, limit: int | None, output: Path, fresh: bool
) -> Result:
    """Run prompts on the board that runs BUILD and write down which experts every token used, layer by layer.

    The trace is what `simulate`, `plan --trace` and `build --trace` read. An interrupted run goes on with the prompt
    where it stopped; the board's slots are then empty again. A host build records the same routes, faster.
    """
    folder = load_build(build)
    file = prompts or folder.path / PROMPTS
    if prompts is None and not file.is_file():
        raise UsageError("the build has no prompts of its own", try_="--prompts FILE")
    requests = load_requests(file)[:limit]
    golden = load_golden(folder)
    if not golden.config.num_experts:
        raise UsageError("the model has no experts to trace", at=str(folder.path))
    if fresh:
        for old in (output, output.with_name(output.name + ".partial")):
            old.unlink(missing_ok=True)
    kept = TraceFile(output, describe_trace(golden, folder.plan, folder.build_id, requests))
    if not kept.finished:
        with (
            open_build(build, port, baud) as (_, board, client),
            progress_bar() as progress,
        ):
            task = progress.add_task(f"trace on {board.name}", total=len(requests), completed=kept.done)
            record_trace(
                client,
                golden,
                requests,
                kept,
                expert_bytes=folder.plan["expert_bytes"],
                on_prompt=lambda done: progress.update(task, completed=done),
            )
    return _describe(read_trace(output), output, len(requests))


def _describe(trace: Trace, file: Path, prompts: int) -> Result:
    tokens, uses = int(trace.token_starts.sum()), len(trace.experts)
    distinct = len(set(trace.experts.tolist()))
    data = {"trace": str(file), "prompts": prompts, "tokens": tokens, "uses": uses, "distinct_experts": distinct}
    text = f"{file}: {prompts} prompts, {tokens} tokens, {uses} uses of {distinct} experts"
    if trace.guess_rate is not None:
        text += f"; the first guess of the next layer is right in {100 * trace.guess_rate:.0f} %"
    return Result(data | {"guess_rate": trace.guess_rate}, text)
