"""What a board's slots hold, from its routings alone (SPEC.md 7.2): for the golden of cache-aware routing."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mmoe_embed.config import ModelConfig
from mmoe_embed.paging.placed import PlacedCache
from mmoe_embed.paging.placement import Placement, placement_of_plan


class Slots:
    """The pager of a board that runs a plan, without its pages.

    Args:
        config: of the model.
        slots: of the plan, in all.
        policy: of the runtime.
        placement: of the plan.
        chunk: tokens that a pass takes at most.

    Attributes:
        margin: float32, what a decode step adds to the bias of experts in slots.
        uses, misses: in decode steps, since they were last set to 0.
    """

    def __init__(self, config: ModelConfig, slots: int, policy: str, placement: Placement, chunk: int) -> None:
        self._config, self._slots, self._policy, self._placement = config, slots, policy, placement
        self.chunk = chunk
        self.margin = np.float32(placement.cache_margin)
        self.uses = self.misses = 0
        self.empty()

    def empty(self) -> None:
        """Forget every expert and what the policy knows of it."""
        config = self._config
        self._cache = PlacedCache(
            self._policy, len(config.routed_layers), config.num_experts, self._slots, self._placement
        )
        self._starts = True

    def begin_pass(self) -> None:
        """A pass begins."""
        self._starts = True

    def held(self, layer: int) -> npt.NDArray[np.bool_]:
        """Which experts of a layer are in slots, bool (experts)."""
        return self._cache.held(layer)

    def use_chosen(self, layer: int, chosen: Sequence[int]) -> None:
        """A decode step's layer asks for the experts it chose."""
        self._ask(layer, chosen)
        self.uses += len(chosen)
        self.misses += len(self._cache.missing)

    def use_chunk(self, routes: Sequence[npt.NDArray[np.uint8]]) -> None:
        """A pass over tokens of a prompt.

        Args:
            routes: uint8 (layers, top_k) of each token.
        """
        self.begin_pass()
        config = self._config
        for layer, number in enumerate(config.routed_layers):
            only_last = number == config.num_hidden_layers - 1 and not config.is_classifier
            chosen = sorted({int(expert) for token in routes[-1 if only_last else 0 :] for expert in token[layer]})
            most = self._group_size(layer)
            for first in range(0, len(chosen), most):
                self._ask(layer, chosen[first : first + most])

    def _ask(self, layer: int, chosen: Iterable[int]) -> None:
        first = layer * self._config.num_experts
        self._cache.access(layer, [first + int(expert) for expert in chosen], self._starts)
        self._starts = False

    def _group_size(self, layer: int) -> int:
        placement = self._placement
        if placement.residents or placement.in_place:
            return self._config.num_experts_per_tok
        return placement.layer_slots[layer] if placement.layer_slots else self._slots


def slots_of_plan(plan: Mapping[str, Any], config: ModelConfig) -> Slots | None:
    """The slots that a golden must follow, from plan.json; None where routing does not look at them."""
    placement = placement_of_plan(plan)
    if not placement.cache_margin:
        return None
    return Slots(config, plan["slots"], plan["policy"], placement, plan["chunk"])
