"""Less memory than the model: experts paged through slots against the same experts mapped, at several limits of memory.

    python scripts/random_checkpoint.py mobilemoe_s build/s --zipf 0.9
    python scripts/phone_sweep.py build/s build/sweep

Builds the model once with its experts in place (`mapped`: the system pages the program's file) and once for each
limit with as many slots as it holds; runs each pair in turn in a cgroup of that limit, without swap (so as root).
The limit is a share of the bytes of all weights.
"""

import argparse
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmoe_embed.bench.phone import PhoneBench, Request, measure_builds
from mmoe_embed.build import BuildRequest, build_firmware
from mmoe_embed.build_folder import BuildFolder
from mmoe_embed.plan import PlanRequest

BOARD, SCHEME = "host_x86_64", "int4"
HEAD = f"{'limit':<18}{'slots':>8}{'hit rate':>10}{'paged':>8}{'mapped, decode':>16}{'mapped, prefill':>17}"
FEWEST_SLOTS = 16  # also where the limit is less than the weights that every token uses, which are mapped
PROGRAM_BYTES = 12 << 20  # code, heap and page tables of the program, and pages of the file that are being read


@dataclasses.dataclass(frozen=True)
class Point:
    """One limit: its share of the model in percent, and what was measured: paged, then mapped."""

    percent: int
    bench: PhoneBench


def sweep(checkpoint: Path, folder: Path, percents: list[int], policy: str | None, request: Request) -> Iterator[Point]:
    """Build and measure, limit by limit.

    Args:
        checkpoint: of a Mixture-of-Experts.
        folder: of the builds, which are kept and used again.
        percents: of the bytes of all weights.
        policy: of the slots; None takes the default.
        request: what is measured; its limit is not looked at.
    """
    mapped = build_firmware(BuildRequest(checkpoint, BOARD, folder / "mapped", SCHEME, PlanRequest(0)))
    weights, experts = count_bytes(mapped)
    for percent in percents:
        limit = (weights + experts) * percent // 100
        least = int(mapped.plan["sram_used_bytes"]) + FEWEST_SLOTS * int(mapped.plan["expert_bytes"])
        sram = max(limit - weights - PROGRAM_BYTES, least)
        plan = PlanRequest(sram_bytes=sram, storage="file", policy=policy)
        output = folder / f"paged_{percent}" if policy is None else folder / f"paged_{percent}_{policy}"
        paged = build_firmware(BuildRequest(checkpoint, BOARD, output, SCHEME, plan))
        yield Point(percent, measure_builds([paged, mapped], dataclasses.replace(request, limit_bytes=limit)))


def count_bytes(build: BuildFolder) -> tuple[int, int]:
    """Bytes of the weights that every token uses, and of all experts."""
    plan = build.plan
    return int(plan["weights_bytes"]), int(plan["expert_count"]) * int(plan["expert_bytes"])


def render(point: Point) -> str:
    """A row of the table."""
    paged, mapped = point.bench.builds
    assert point.bench.request.limit_bytes is not None
    limit, ours, theirs = point.bench.request.limit_bytes >> 20, paged.decode[0], mapped.decode[0]
    rate = f"{100 * ours.hit_rate:.1f} %" if ours.hit_rate is not None else ""
    decode, prefill = f"{theirs.speed.ratio:.3f}", f"{mapped.prefill.ratio:.3f}"
    return f"{f'{point.percent} %':<8}{f'{limit} MiB':>10}{paged.slots:>8}{rate:>10}{'1':>8}{decode:>16}{prefill:>17}"


def main() -> None:
    """Read the arguments, measure, print each point when it is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("folder", type=Path, help="of the builds")
    parser.add_argument("--percent", type=int, nargs="+", default=[100, 60, 40, 25])
    parser.add_argument("--policy", choices=("lru", "lfu"), help="which expert a full cache drops")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prefill", type=int, default=32)
    parser.add_argument("--context", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    a = parser.parse_args()
    request = Request(a.threads, a.prefill, (a.context,), a.tokens, a.rounds)
    if not a.json:
        print(HEAD)
    points: list[dict[str, Any]] = []
    for point in sweep(a.checkpoint, a.folder, a.percent, a.policy, request):
        points.append(dataclasses.asdict(point))
        if not a.json:
            print(render(point), flush=True)
    if a.json:
        print(json.dumps(points))


if __name__ == "__main__":
    main()
