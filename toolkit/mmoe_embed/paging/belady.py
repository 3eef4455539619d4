"""Bélády's bound: the policy that knows the future, for comparison only."""

import heapq
from collections.abc import Sequence

from mmoe_embed.paging.cache import Cache


class BeladyCache(Cache):
    """Evict the expert whose next use is farthest.

    With experts of equal size and `bypass`, no policy hits more. With unequal sizes it is a heuristic in bytes.

    Args:
        batches: every batch that will be accessed, in order.
        bypass: the batch at hand may be dropped too, right after its use, through load buffers that the budget does not
            count.
    """

    def __init__(self, sizes: Sequence[int], budget: int, batches: Sequence[list[int]], *, bypass: bool) -> None:
        super().__init__(sizes, budget)
        self._bypass = bypass
        upcoming = [len(batches)] * len(self.sizes)
        self._after: list[list[int]] = [[]] * len(batches)
        for number in range(len(batches) - 1, -1, -1):
            self._after[number] = [upcoming[expert] for expert in batches[number]]
            for expert in batches[number]:
                upcoming[expert] = number
        self._next = upcoming
        self._number = 0
        self._heap: list[tuple[int, int]] = []  # (-next use, expert), also of those gone and of earlier uses

    def touch(self, layer: int, batch: list[int]) -> None:
        """Look up when each expert comes again."""
        for expert, after in zip(batch, self._after[self._number], strict=True):
            self._next[expert] = after
            heapq.heappush(self._heap, (-after, expert))
        self._number += 1

    def shrink(self, layer: int, batch: list[int]) -> None:
        """Evict; with bypass nothing is kept for being at hand."""
        if not self._bypass:
            super().shrink(layer, batch)
            return
        self.drop_victims(layer, set())

    def choose_victim(self, layer: int, kept: set[int]) -> int:
        """The resident whose next use is farthest."""
        aside: list[tuple[int, int]] = []
        while True:
            after, expert = entry = heapq.heappop(self._heap)
            if not self.resident[expert] or -after != self._next[expert]:
                continue
            if expert not in kept:
                for entry in aside:
                    heapq.heappush(self._heap, entry)
                return expert
            aside.append(entry)
