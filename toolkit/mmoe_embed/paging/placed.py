"""A cache as a plan divides it: residents, experts in place, slots for all layers or for each (SPEC.md 7.1)."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from mmoe_embed.paging.cache import AgedLfuCache, Cache, LruCache
from mmoe_embed.paging.placement import CACHED, IN_PLACE, RESIDENT, Placement
from mmoe_embed.paging.scores import WaitCache


class PlacedCache(Cache):
    """The runtime's pager under a plan; one expert is one byte, so budgets are slots.

    As in the runtime an expert in place always hits, and a resident takes its slot when it is first used.

    Args:
        policy: of the runtime: "wait", "lfu" or "lru".
        layers: of the model.
        experts: of one layer.
        slots: in all.
        placement: of the plan.

    Attributes:
        places: of each expert: CACHED, RESIDENT or IN_PLACE.
    """

    def __init__(self, policy: str, layers: int, experts: int, slots: int, placement: Placement) -> None:
        super().__init__([1] * (layers * experts), slots)
        make = _maker(policy, layers * experts, layers)
        self.places = placement.places(layers * experts) or [CACHED] * (layers * experts)
        own = placement.layer_slots
        pools = [make(count) for count in own] if own else [make(slots)]
        self._pool_of = [pools[layer if own else 0] for layer in range(layers)]
        self._pools = pools

    def held(self, layer: int) -> npt.NDArray[np.bool_]:
        """Which experts of a layer are in slots, bool (experts)."""
        experts = len(self.resident) // len(self._pool_of)
        rows = slice(layer * experts, (layer + 1) * experts)
        own, shared = (np.frombuffer(held, np.uint8)[rows] for held in (self.resident, self._pool_of[layer].resident))
        return (own | shared).astype(np.bool_)

    def read_ahead(self, layer: int, expert: int, kept: Sequence[int]) -> bool:
        """Load an expert that layer `layer` may need, where it is not there already; whether that takes a read.

        Args:
            kept: experts of the layer before, which is at work, and those read ahead meanwhile.
        """
        pool = self._pool_of[layer]
        if self.places[expert] == IN_PLACE or self.resident[expert] or pool.resident[expert]:
            return False
        present, here = (layer - 1) % len(self._pool_of), {other for other in kept if pool.resident[other]}
        if self.places[expert] == RESIDENT:
            self.resident[expert] = 1
            pool.budget -= 1
            pool.make_room(present, 0, here)
        else:
            pool.admit(present, expert, here)
        return True

    def access(self, layer: int, batch: list[int], starts_token: bool) -> None:
        """Residents load for good and leave the rest one slot less; the others go through the layer's pool."""
        pool, places, resident = self._pool_of[layer], self.places, self.resident
        if starts_token:
            for each in self._pools:
                each.begin_token()
        cached, missing = [], []
        for expert in batch:
            if places[expert] == RESIDENT:
                if not resident[expert]:
                    resident[expert] = 1
                    pool.budget -= 1
                    missing.append(expert)
            elif places[expert] != IN_PLACE:
                cached.append(expert)
        pool.access(layer, cached, False)
        self.missing = missing + pool.missing
        self.evicted = pool.evicted


def _maker(policy: str, count: int, layers: int) -> Callable[[int], Cache]:
    sizes = [1] * count
    match policy:
        case "wait":
            return lambda slots: WaitCache(sizes, slots, layers)
        case "lfu":
            return lambda slots: AgedLfuCache(sizes, slots)
        case "lru":
            return lambda slots: LruCache(sizes, slots)
    raise ValueError(policy)
