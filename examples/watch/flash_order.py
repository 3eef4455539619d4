"""What the order of experts in flash could save: reads of a layer that lie side by side, made as one, have one set-up.

    python examples/watch/flash_order.py TRACE.csv --speed 20e6 --setup 20e-6

An order is learned from the first half of a routing trace: experts that were missed together stand side by side, the
most frequent pairs first. On the second half it counts which share of the reads had its neighbour beside it, in that
order and in the rising one, and what the set-ups saved are of all time spent reading.
"""

import argparse
from collections import Counter
from itertools import combinations
from pathlib import Path

from mmoe_embed.paging.replay import list_batches
from mmoe_embed.paging.scores import WaitCache
from mmoe_embed.paging.trace import DECODE, Trace, read_trace

Pair = tuple[int, int]


def list_misses(trace: Trace, slots: int) -> list[list[int]]:
    """Expert numbers that each layer of each decode step missed, rising."""
    cache = WaitCache([1] * len(trace.sizes), slots, len(trace.expert_bytes))
    misses = []
    for (layer, batch, starts_token), phase in zip(list_batches(trace), trace.phases.tolist(), strict=True):
        cache.access(layer, batch, starts_token)
        if phase == DECODE:
            misses.append(sorted(cache.missing))
    return misses


def chain_pairs(misses: list[list[int]], experts: int) -> set[Pair]:
    """Neighbours of an order, greedily: the pairs missed together most often, each expert in at most two, no rings."""
    counts = Counter(pair for missing in misses for pair in combinations(missing, 2))
    neighbours, end = Counter[int](), list(range(experts))  # end: of the chain, at its two ends
    chosen = set()
    for (first, second), _ in counts.most_common():
        if neighbours[first] < 2 and neighbours[second] < 2 and end[first] != second:
            left, right = end[first], end[second]
            end[left], end[right] = right, left
            neighbours.update((first, second))
            chosen.add((first, second))
    return chosen


def share_merged(misses: list[list[int]], neighbours: set[Pair]) -> float:
    """Share of the reads that go on where another one of the same layer ends."""
    merged = sum(pair in neighbours for missing in misses for pair in combinations(missing, 2))
    return merged / max(1, sum(map(len, misses)))


def main() -> None:
    """Print the shares for some numbers of slots."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace", type=Path)
    parser.add_argument("--speed", type=float, default=20e6, help="of the flash, bytes/s")
    parser.add_argument("--setup", type=float, default=20e-6, help="of a read, seconds")
    options = parser.parse_args()
    trace = read_trace(options.trace)
    experts = len(trace.sizes)
    setup = options.setup / (options.setup + float(trace.sizes.mean()) / options.speed)
    print(f"{options.trace.name}: {experts} experts, a set-up is {100 * setup:.2f} % of a read")
    for share in (0.05, 0.2, 0.5):
        misses = list_misses(trace, max(trace.top_k + 1, int(share * experts)))
        half = len(misses) // 2
        rising = share_merged(misses[half:], {(expert, expert + 1) for expert in range(experts)})
        chained = share_merged(misses[half:], chain_pairs(misses[:half], experts))
        print(
            f"slots for {100 * share:2.0f} %: beside each other {100 * rising:4.1f} % of reads in rising order,"
            f" {100 * chained:4.1f} % chained; the order saves {100 * (chained - rising) * setup:.2f} % of the time,"
            f" joint reads alone {100 * rising * setup:.2f} %"
        )


if __name__ == "__main__":
    main()
