"""`mmoe-embed simulate`: replay a routing trace through the cache policies."""

from pathlib import Path

import rich_click as click

from mmoe_embed.cli.options import ByteCount
from mmoe_embed.cli.output import Result, verb
from mmoe_embed.paging.replay import POLICIES, Replay, Replayer, describe_cycle
from mmoe_embed.paging.trace import Trace, read_trace


@verb("simulate")
@click.argument("trace", type=click.Path(path_type=Path))
@click.option("--budget", type=ByteCount(), required=True, metavar="BYTES", help="The cache's size, e.g. 128K or 250M.")
@click.option("--policy", type=click.Choice(["all", *POLICIES]), default="all", show_default=True)
@click.option(
    "--bandwidth",
    type=click.FloatRange(min=0, min_open=True),
    default=20e6,
    show_default=True,
    metavar="BYTES_PER_S",
    help="Of the flash.",
)
@click.option(
    "--learn-from",
    type=click.Path(path_type=Path),
    metavar="TRACE",
    help="What pin and learned learn from. Default: the first half of TRACE, so half of their figure is in-sample.",
)
def command(trace: Path, budget: int, policy: str, bandwidth: float, learn_from: Path | None) -> Result:
    """Replay TRACE (CSV) through one cache of BYTES over all layers: hit rates, bytes read and stall of each policy.

    Boards have wait (a plan's default), lfu-aged and lru. Stall is bytes read / bandwidth: every read waited for, none
    hidden behind compute. learned and belady-bypass use a miss without keeping it, through load buffers outside the
    budget; pin does so with all that is not pinned.
    """
    loaded = read_trace(trace)
    replayer = Replayer(loaded, read_trace(learn_from) if learn_from else None)
    replays = replayer.replay_all(budget) if policy == "all" else [replayer.replay(policy, budget)]
    note = describe_cycle(loaded, budget)
    data = {
        "trace": str(trace),
        "budget_bytes": budget,
        "bandwidth_bytes_per_s": bandwidth,
        "cycle_bytes": loaded.cycle_bytes,
        "below_cycle": bool(note),
        "notes": [note] if note else [],
        "policies": [_describe(replay, bandwidth) for replay in replays],
    }
    return Result(data, _render(loaded, budget, bandwidth, replays, note))


def _describe(replay: Replay, bandwidth: float) -> dict[str, str | int | float]:
    return {
        "policy": replay.policy,
        "decode_hit_rate": replay.decode_hit_rate,
        "prefill_hit_rate": replay.prefill_hit_rate,
        "bytes_read": replay.bytes_read,
        "stall_s": replay.bytes_read / bandwidth,
    }


def _render(trace: Trace, budget: int, bandwidth: float, replays: list[Replay], note: str) -> str:
    lines = [
        f"{len(trace.experts)} accesses, {len(trace.expert_bytes)} layers, top-{trace.top_k},"
        f" one token's cycle {trace.cycle_bytes} B; budget {budget} B, {bandwidth:g} B/s",
        f"{'policy':<14} {'decode':>8} {'prefill':>8} {'read MiB':>10} {'stall s':>10}",
    ]
    lines += [
        f"{replay.policy:<14} {100 * replay.decode_hit_rate:>6.1f} % {100 * replay.prefill_hit_rate:>6.1f} %"
        f" {replay.bytes_read / (1 << 20):>10.1f} {replay.bytes_read / bandwidth:>10.2f}"
        for replay in replays
    ]
    return "\n".join([*lines, *([f"note: {note}"] if note else [])])
