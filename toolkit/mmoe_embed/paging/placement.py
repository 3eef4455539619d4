"""What a plan decides about experts beside the number of slots: residents, in place, slots a layer, flash order."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from mmoe_embed.config import ModelConfig
from mmoe_embed.errors import UsageError

CACHED, RESIDENT, IN_PLACE = range(3)  # mmoe_place in firmware/include/mmoe_runtime.h
LEAST_MARGIN = 1e-6


@dataclasses.dataclass(frozen=True)
class Placement:
    """`paging` of plan.json (SPEC.md 7.1); expert e of layer l is number l * experts + e.

    Attributes:
        residents: experts that are never evicted once loaded.
        in_place: experts computed where they lie in flash.
        layer_slots: slots of each layer; empty shares all slots among the layers.
        flash_order: all experts in the order of their pages; empty is rising.
        prefetch: experts of the next layer that are guessed and loaded ahead.
        cache_margin: how much a decode step favours experts in slots when it chooses (SPEC.md 7.3); 0: not at all.
    """

    residents: tuple[int, ...] = ()
    in_place: tuple[int, ...] = ()
    layer_slots: tuple[int, ...] = ()
    flash_order: tuple[int, ...] = ()
    prefetch: int = 0
    cache_margin: float = 0.0

    def places(self, count: int) -> list[int]:
        """Where each of `count` experts is computed; empty when all are cached."""
        if not self.residents and not self.in_place:
            return []
        places = [CACHED] * count
        for experts, place in ((self.residents, RESIDENT), (self.in_place, IN_PLACE)):
            for expert in experts:
                places[expert] = place
        return places

    def first_slots(self) -> list[int]:
        """Number of each layer's first slot, and one behind the last; empty when slots are shared."""
        return [sum(self.layer_slots[:layer]) for layer in range(len(self.layer_slots) + 1)] if self.layer_slots else []


def placement_of_plan(plan: Mapping[str, Any]) -> Placement:
    """`paging` of plan.json."""
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in plan["paging"].items()
    }
    return Placement(**fields)


def check_placement(placement: Placement, config: ModelConfig, slots: int, *, mapped: bool) -> None:
    """Refuse what the runtime could not follow.

    Args:
        placement: what to check.
        config: of the model.
        slots: in all.
        mapped: whether experts can be computed in place.

    Raises:
        UsageError: a number is out of range, experts are listed twice, or a layer cannot load what a token needs.
    """
    count = config.expert_count
    for name, experts in (("residents", placement.residents), ("in_place", placement.in_place)):
        _check_numbers(name, experts, count)
    if both := set(placement.residents) & set(placement.in_place):
        raise UsageError(f"experts {sorted(both)} are to be resident and in place", at="plan.json, paging")
    if placement.in_place and not mapped:
        raise UsageError("experts cannot be computed in place: their storage is not mapped", at="plan.json, paging")
    if placement.flash_order and sorted(placement.flash_order) != list(range(count)):
        raise UsageError(f"flash_order is not an order of all {count} experts", at="plan.json, paging")
    if not 0 <= placement.prefetch <= config.num_experts_per_tok:
        raise UsageError(
            f"prefetch of {placement.prefetch} experts: a token uses {config.num_experts_per_tok} in a layer",
            at="plan.json, paging",
        )
    if placement.cache_margin:
        _check_margin(placement, slots, count)
    if slots:
        _check_slots(placement, config, slots)


def _check_margin(placement: Placement, slots: int, count: int) -> None:
    if not LEAST_MARGIN <= placement.cache_margin <= 1:
        raise UsageError(
            f"a cache margin of {placement.cache_margin}: scores are 0..1", try_=f"{LEAST_MARGIN} to 1, or 0 for none"
        )
    if not 0 < slots < count:
        what = "every expert has a slot" if slots else "experts take no slots"
        raise UsageError(f"cache-aware routing has nothing to gain: {what}", try_="leave out --cache-aware")
    if placement.prefetch:
        raise UsageError(
            "cache-aware routing and prefetch exclude each other: what is read ahead depends on time, routing must not",
            try_="--cache-aware or --prefetch",
        )


def _check_numbers(name: str, experts: Sequence[int], count: int) -> None:
    if len(set(experts)) != len(experts) or any(not 0 <= expert < count for expert in experts):
        raise UsageError(
            f"{name} of a plan are different experts of 0..{count - 1}: {list(experts)}", at="plan.json, paging"
        )


def _check_slots(placement: Placement, config: ModelConfig, slots: int) -> None:
    layers, experts = len(config.routed_layers), config.num_experts
    if placement.layer_slots and (len(placement.layer_slots) != layers or sum(placement.layer_slots) != slots):
        raise UsageError(
            f"layer_slots {list(placement.layer_slots)} are not {slots} slots over {layers} layers",
            at="plan.json, paging",
        )
    places = placement.places(layers * experts) or [CACHED] * (layers * experts)
    of_layer = [places[layer * experts : (layer + 1) * experts] for layer in range(layers)]
    residents = [layer.count(RESIDENT) for layer in of_layer]
    least = [min(config.num_experts_per_tok + 1, layer.count(CACHED)) for layer in of_layer]
    if not placement.layer_slots:
        pools = [(slots, sum(residents), max(least), "all layers")]
    else:
        pools = [
            (own, residents[layer], least[layer], f"layer {layer}") for layer, own in enumerate(placement.layer_slots)
        ]
    for own, taken, needed, where in pools:
        if own < taken + needed:
            raise UsageError(
                f"{own} slots of {where} are too few: {taken} are taken by residents and {needed} more are needed",
                at="plan.json, paging",
                try_="fewer residents or more slots",
            )
