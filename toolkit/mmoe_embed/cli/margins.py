"""`mmoe-embed margins`: what cache-aware routing costs and saves."""

import dataclasses
import os
from pathlib import Path

import rich_click as click

from mmoe_embed.build_folder import load_build
from mmoe_embed.cli.board_session import build_argument
from mmoe_embed.cli.output import Result, progress_bar, verb
from mmoe_embed.errors import ToolkitError, UsageError
from mmoe_embed.paging.margins import MarginCost, choose_margin, measure_margins
from mmoe_embed.prompt import load_pairs

_MARGINS = "0.005,0.01,0.02,0.05,0.1,0.2"


@verb("margins")
@build_argument
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option(
    "--margins", default=_MARGINS, show_default=True, metavar="M,M,...", help="To be tried, beside 0, plain routing."
)
@click.option(
    "--max-loss",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    metavar="PERCENT",
    help="Perplexity may rise by so much.",
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N lines.")
@click.option("--processes", type=click.IntRange(min=1), help="Default: one a core.")
def command(
    build: Path, dataset: Path, margins: str, max_loss: float, limit: int | None, processes: int | None
) -> Result:
    """Measure over DATASET what `build --cache-aware MARGIN` would cost in perplexity and save in reads.

    Everything is computed on this machine, with the slots and the policy of BUILD, to the bits of its board.
    Exit code 1 when no margin keeps the loss in bounds.
    """
    folder = load_build(build)
    if folder.plan["expert_mode"] != "paged":
        raise UsageError(
            f"experts are {folder.plan['expert_mode']} in this build: cache-aware routing has nothing to gain",
            at=str(build),
            try_="a build with fewer --expert-slots than experts",
        )
    tried = _parse_margins(margins)
    pairs = load_pairs(dataset)[:limit]
    with progress_bar() as progress:
        task = progress.add_task("margins", total=len(tried) * len(pairs))
        costs = measure_margins(
            folder.quantized,
            folder.plan,
            pairs,
            tried,
            processes=processes or os.cpu_count() or 1,
            on_lines=lambda lines: progress.advance(task, lines),
        )
    chosen = choose_margin(costs, max_loss / 100)
    data = {
        "slots": folder.plan["slots"],
        "policy": folder.plan["policy"],
        "lines": len(pairs),
        "max_loss_percent": max_loss,
        "margin": chosen,
        "margins": [dataclasses.asdict(cost) for cost in costs],
    }
    return Result(data, _render(costs, chosen, max_loss), exit_code=0 if chosen else ToolkitError.exit_code)


def _parse_margins(text: str) -> list[float]:
    """In rising order, 0 first."""
    try:
        found = {float(part) for part in text.split(",")}
    except ValueError:
        raise UsageError(f"{text!r} is no list of margins", try_="--margins 0.01,0.05") from None
    if not all(0 <= margin <= 1 for margin in found):
        raise UsageError("a margin is 0 to 1, as scores are", at=f"--margins {text}")
    return sorted(found | {0.0})


def _render(costs: list[MarginCost], chosen: float, max_loss: float) -> str:
    plain = costs[0].perplexity
    lines = ["margin   perplexity     loss   exact match   decode hits   reads a token"]
    lines += [
        f"{cost.margin:<8g} {cost.perplexity:>10.4f} {100 * (cost.perplexity / plain - 1):>+7.2f} %"
        f" {100 * cost.exact_match:>11.1f} % {100 * cost.hit_rate:>11.1f} % {cost.reads_per_token:>15.2f}"
        for cost in costs
    ]
    if chosen:
        lines.append(f"within {max_loss:g} % of perplexity: mmoe-embed build ... --cache-aware {chosen:g}")
    else:
        lines.append(f"no margin keeps the loss within {max_loss:g} %: leave cache-aware routing off")
    return "\n".join(lines)
