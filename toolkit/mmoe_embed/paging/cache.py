"""An expert cache counted in bytes, and the policies that look at recency or counts alone.

Rules of every cache here: a batch (the experts one layer needs at once) is loaded whole, then experts outside it are
evicted until the budget holds. Where the batch alone is over the budget, nothing else stays, and of the batch what was
touched last.
"""

import heapq
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

AGEING_TOKENS = 64  # as in firmware/src/policy.c
_CLOCK_BITS = 32


class Cache:
    """One cache over all layers; a policy says which expert it drops.

    Args:
        sizes: bytes of each expert by its number.
        budget: bytes.
    """

    def __init__(self, sizes: Sequence[int], budget: int) -> None:
        self.sizes = list(sizes)
        self.budget = budget
        self._largest = max(self.sizes, default=0)
        self.used = 0
        self.resident = bytearray(len(self.sizes))
        self.missing: list[int] = []  # of the last batch
        self.evicted: list[int] = []  # by the last batch

    def access(self, layer: int, batch: list[int], starts_token: bool) -> None:
        """Touch the experts of one batch; afterwards `missing` and `evicted` say what it cost."""
        resident, sizes = self.resident, self.sizes
        if starts_token:
            self.begin_token()
        self.missing = missing = [expert for expert in batch if not resident[expert]]
        self.touch(layer, batch)
        for expert in missing:
            resident[expert] = 1
            self.used += sizes[expert]
        self.evicted = []
        if self.used > self.budget:
            self.shrink(layer, batch)

    def begin_token(self) -> None:
        """A token starts; prefill counts as one."""

    def touch(self, layer: int, batch: list[int]) -> None:
        """Note the use of a batch; `missing` is set, `resident` not yet."""

    def shrink(self, layer: int, batch: list[int]) -> None:
        """Evict until the budget holds."""
        if len(batch) * self._largest > self.budget:
            own = sum(self.sizes[expert] for expert in batch)
            if own > self.budget:
                self._drop_batch(batch, own)
                return
        self.drop_victims(layer, set(batch))

    def drop_victims(self, layer: int, kept: set[int]) -> None:
        """Evict, but for `kept`, until the budget holds."""
        resident, sizes, evicted, budget, used = self.resident, self.sizes, self.evicted, self.budget, self.used
        choose = self.choose_victim
        while used > budget:
            victim = choose(layer, kept)
            resident[victim] = 0
            used -= sizes[victim]
            evicted.append(victim)
        self.used = used

    def choose_victim(self, layer: int, kept: set[int]) -> int:
        """A resident expert outside the batch at hand, to be evicted; no longer known to the policy."""
        raise NotImplementedError

    def make_room(self, layer: int, size: int, kept: set[int]) -> None:
        """Evict until so many bytes are free; `layer` is the present one, `kept` stay whatever happens."""
        self.evicted = []
        while self.used + size > self.budget:
            self.drop(self.choose_victim(layer, kept))

    def admit(self, layer: int, expert: int, kept: set[int]) -> None:
        """Load one expert ahead, which is no use of it; arguments as of `make_room`."""
        self.make_room(layer, self.sizes[expert], kept)
        self.resident[expert] = 1
        self.used += self.sizes[expert]
        self.note_admitted(expert)

    def note_admitted(self, expert: int) -> None:
        """An expert was loaded without having been touched; the runtime's policies alone know what to make of it."""
        raise NotImplementedError

    def forget(self, expert: int) -> None:
        """An expert is evicted without having been chosen."""

    def drop(self, expert: int) -> None:
        """Account for an eviction."""
        self.resident[expert] = 0
        self.used -= self.sizes[expert]
        self.evicted.append(expert)

    def _drop_batch(self, batch: list[int], own: int) -> None:
        at_hand = set(batch)
        held: list[int] = np.flatnonzero(np.frombuffer(self.resident, np.uint8)).tolist()
        ordered = [expert for expert in held if expert not in at_hand]
        for expert in batch:
            if own <= self.budget:
                break
            own -= self.sizes[expert]
            ordered.append(expert)
        for expert in ordered:
            self.forget(expert)
            self.drop(expert)


class LruCache(Cache):
    """Evict the expert whose last use is longest ago."""

    def __init__(self, sizes: Sequence[int], budget: int) -> None:
        super().__init__(sizes, budget)
        self._order: OrderedDict[int, None] = OrderedDict()

    def touch(self, layer: int, batch: list[int]) -> None:
        """Move the batch to the end."""
        order = self._order
        for expert in batch:
            order[expert] = None
            order.move_to_end(expert)

    def choose_victim(self, layer: int, kept: set[int]) -> int:
        """The front; a batch that fits stands behind everything else."""
        return self._order.popitem(last=False)[0]

    def note_admitted(self, expert: int) -> None:
        """As if it had been used last."""
        self._order[expert] = None

    def forget(self, expert: int) -> None:
        """Leave the order."""
        del self._order[expert]


class MruCache(LruCache):
    """Evict the most recent outside the batch: what came first stays, so a loop larger than the cache still hits."""

    def touch(self, layer: int, batch: list[int]) -> None:
        """Take the batch out of the order while it is at hand."""
        for expert in batch:
            self._order.pop(expert, None)

    def access(self, layer: int, batch: list[int], starts_token: bool) -> None:
        """Evict, and only then let the batch take part."""
        super().access(layer, batch, starts_token)
        for expert in batch:
            if self.resident[expert]:
                self._order[expert] = None

    def choose_victim(self, layer: int, kept: set[int]) -> int:
        """The end."""
        return self._order.popitem()[0]

    def forget(self, expert: int) -> None:
        """Leave the order, or never join it."""
        self._order.pop(expert, None)


class LfuCache(Cache):
    """Evict the expert used least often since the start; of equals the least recent.

    The heap holds one entry for each resident; a key only grows, so an entry that is too low shows when it is on top.
    """

    def __init__(self, sizes: Sequence[int], budget: int) -> None:
        super().__init__(sizes, budget)
        # uses << _CLOCK_BITS | clock of the last one; kept for those evicted too
        self.key = [0] * len(self.sizes)
        self._clock = 0
        self._heap: list[tuple[int, int]] = []  # (key, expert)

    def touch(self, layer: int, batch: list[int]) -> None:
        """Count the uses."""
        key, clock = self.key, self._clock
        for expert in batch:
            clock += 1
            key[expert] = ((key[expert] >> _CLOCK_BITS) + 1) << _CLOCK_BITS | clock
        self._clock = clock
        for expert in self.missing:
            heapq.heappush(self._heap, (key[expert], expert))

    def choose_victim(self, layer: int, kept: set[int]) -> int:
        """The lowest entry that is still true and not at hand."""
        heap, key = self._heap, self.key
        aside = []
        while True:
            entry = heap[0]
            expert = entry[1]
            if entry[0] != key[expert]:
                heapq.heapreplace(heap, (key[expert], expert))
            elif expert in kept:
                aside.append(heapq.heappop(heap))
            else:
                heapq.heappop(heap)
                for entry in aside:
                    heapq.heappush(heap, entry)
                return expert

    def note_admitted(self, expert: int) -> None:
        """As often used as it was, and last."""
        self.key[expert] = (self.key[expert] >> _CLOCK_BITS) << _CLOCK_BITS | self._clock
        heapq.heappush(self._heap, (self.key[expert], expert))

    def forget(self, expert: int) -> None:
        """Leave the heap; rare, so it may be slow."""
        self._heap = [entry for entry in self._heap if entry[1] != expert]
        heapq.heapify(self._heap)


class AgedLfuCache(LfuCache):
    """LFU whose counts are halved every `AGEING_TOKENS` tokens, as the firmware does."""

    def __init__(self, sizes: Sequence[int], budget: int) -> None:
        super().__init__(sizes, budget)
        self._tokens = 0

    def begin_token(self) -> None:
        """Halve the counts when it is time."""
        self._tokens += 1
        if self._tokens < AGEING_TOKENS:
            return
        self._tokens = 0
        clock = (1 << _CLOCK_BITS) - 1
        self.key = [(key >> _CLOCK_BITS + 1) << _CLOCK_BITS | key & clock for key in self.key]
        self._heap = [(self.key[expert], expert) for _, expert in self._heap]
        heapq.heapify(self._heap)


class PinCache(Cache):
    """A fixed set, each loaded at its first use; everything else passes through the load buffer and is not kept.

    Args:
        pinned: experts that together fit the budget.
    """

    def __init__(self, sizes: Sequence[int], budget: int, pinned: Sequence[int]) -> None:
        super().__init__(sizes, budget)
        self._pinned = set(pinned)

    def access(self, layer: int, batch: list[int], starts_token: bool) -> None:
        """Keep what is pinned."""
        self.missing = [expert for expert in batch if not self.resident[expert]]
        self.evicted = []
        for expert in self.missing:
            if expert in self._pinned:
                self.resident[expert] = 1
                self.used += self.sizes[expert]
