"""Options that several verbs share, and what they turn into."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import rich_click as click

from mmoe_embed.errors import UsageError
from mmoe_embed.paging.choose import read_workload
from mmoe_embed.paging.placement import Placement
from mmoe_embed.plan import MAX_CHUNK, POLICIES, PlanRequest


class ByteCount(click.ParamType):  # type: ignore[type-arg]
    """A number of bytes: 131072, 0x20000, 128K or 1M."""

    name = "bytes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Parse; a wrong value is a usage error."""
        if isinstance(value, int):
            return value
        text, factor = str(value).strip(), 1
        if text[-1:].upper() in ("K", "M"):
            text, factor = text[:-1], {"K": 1 << 10, "M": 1 << 20}[text[-1].upper()]
        try:
            count = int(text, 0) * factor
        except ValueError:
            self.fail(f"{value!r} is not a number of bytes; write 131072, 0x20000, 128K or 1M", param, ctx)
        if count <= 0:
            self.fail(f"{value!r} is not a positive number of bytes", param, ctx)
        return count


_Function = Callable[..., Any]


def _stack(*decorators: Callable[[_Function], _Function]) -> Callable[[_Function], _Function]:
    def apply(function: _Function) -> _Function:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return apply


checkpoint_argument = click.argument("checkpoint", type=click.Path(path_type=Path))
board_option = click.option(
    "--board", "-b", required=True, metavar="BOARD", help="A board's name, or the path of its TOML file."
)
scheme_option = click.option(
    "--scheme",
    type=click.Choice(["auto", "int8", "int4"]),
    default="auto",
    show_default=True,
    help="Bits of the weights; auto takes INT8 where it fits the flash, else INT4.",
)
plan_options = _stack(
    click.option(
        "--expert-slots",
        type=click.IntRange(min=0),
        metavar="N",
        help="Experts kept in SRAM at once; 0 computes them in place. Default: as many as fit.",
    ),
    click.option(
        "--sram", "sram_bytes", type=ByteCount(), metavar="BYTES", help="Use at most this much SRAM in all, e.g. 128K."
    ),
    click.option(
        "--policy",
        type=click.Choice(POLICIES),
        help="Which expert a full cache drops. Default: wait, or the best for --trace.",
    ),
    click.option(
        "--trace",
        "workload",
        type=click.Path(path_type=Path),
        metavar="CSV",
        help="A routing trace of `mmoe-embed trace`: policy, residents and the like are chosen for it.",
    ),
    click.option(
        "--prefetch",
        type=click.IntRange(min=0),
        metavar="N",
        help="Experts of the next layer that are guessed and read ahead. Default: what --trace says pays, else 0.",
    ),
    click.option(
        "--cache-aware",
        "cache_margin",
        type=click.FloatRange(min=0, max=1),
        default=0.0,
        metavar="MARGIN",
        help="Decode prefers experts in slots whose router score is within MARGIN of a better one; changes answers."
        " `mmoe-embed margins` measures what it costs. Default: 0, off.",
    ),
    click.option(
        "--prefill-chunk",
        "chunk",
        type=click.IntRange(min=1, max=MAX_CHUNK),
        metavar="N",
        help="Tokens of a prompt that go through the model together. Default: the most that costs few expert slots.",
    ),
)
storage_options = _stack(
    click.option("--storage", metavar="DRIVER", help="What reads the experts; default: the board's first [[storage]]."),
    click.option(
        "--spare-pages",
        type=click.IntRange(min=0, max=255),
        metavar="N",
        help="Experts that `update-expert` can replace at once. Default: 1 where the firmware can write the storage.",
    ),
    click.option(
        "--flash-model",
        metavar="SPEED[:LATENCY][:blocking]",
        help="Emulated boards: experts lie in a flash of so many bytes a second, e.g. 8M or 20M:50us.",
    ),
    click.option(
        "--timeline",
        "timeline_events",
        type=click.IntRange(min=0, max=1 << 20),
        default=0,
        metavar="EVENTS",
        help="Record the last EVENTS reads, waits and computations, 8 bytes of SRAM each.",
    ),
    click.option(
        "--instruction-ns",
        type=int,
        metavar="NS",
        help="Virtual time of an instruction beside --flash-model, a power of two. Default: about a cycle of the core.",
    ),
)


other_ram_option = click.option(
    "--other-ram",
    "other_ram_bytes",
    type=ByteCount(),
    default=0,
    metavar="BYTES",
    help="SRAM that the rest of the firmware takes where the model is only a part of it.",
)


def plan_request(workload: Path | None, cache_margin: float, **options: Any) -> PlanRequest:
    """The planner's request from the plan options."""
    paging = Placement(cache_margin=cache_margin)
    return PlanRequest(**options, paging=paging, workload=read_workload(workload) if workload else None)


def check_output(path: Path) -> Path:
    """The output path, refused when its name is that of something else."""
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path} is a file, a folder is needed", try_="another -o")
    return path
