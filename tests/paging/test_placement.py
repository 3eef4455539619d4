"""What a plan may decide about experts, and what is refused."""

import pytest
from random_model import small_config

from mmoe_embed.errors import UsageError
from mmoe_embed.paging.placement import Placement, check_placement

CONFIG = small_config(num_hidden_layers=2, num_experts=6, num_experts_per_tok=2)

WRONG = {
    "out of range": (Placement(residents=(12,)), 8, r"0\.\.11"),
    "twice": (Placement(residents=(1, 1)), 8, "different experts"),
    "both": (Placement(residents=(1,), in_place=(1, 2)), 8, r"\[1\]"),
    "order": (Placement(flash_order=(0, 1, 2)), 8, "all 12"),
    "prefetch": (Placement(prefetch=3), 8, "uses 2"),
    "margin": (Placement(cache_margin=1.5), 8, r"0\.\.1"),
    "margin of nothing": (Placement(cache_margin=1e-9), 8, "1e-06 to 1"),
    "margin where all fit": (Placement(cache_margin=0.1), 12, "every expert has a slot"),
    "margin in place": (Placement(cache_margin=0.1), 0, "take no slots"),
    "margin and prefetch": (Placement(cache_margin=0.1, prefetch=1), 8, "exclude each other"),
    "layers": (Placement(layer_slots=(4, 3)), 8, "8 slots over 2 layers"),
    "shared slots": (Placement(residents=(0, 1)), 4, "3 more are needed"),
    "slots of a layer": (Placement(residents=(6, 7), layer_slots=(4, 4)), 8, "layer 1"),
}


@pytest.mark.parametrize("what", WRONG)
def test_check_placement_refuses(what: str) -> None:
    placement, slots, message = WRONG[what]
    with pytest.raises(UsageError, match=message):
        check_placement(placement, CONFIG, slots, mapped=True)


def test_check_placement_in_place_needs_mapped_storage() -> None:
    check_placement(Placement(in_place=(1,)), CONFIG, 8, mapped=True)
    with pytest.raises(UsageError, match="not mapped"):
        check_placement(Placement(in_place=(1,)), CONFIG, 8, mapped=False)


def test_layer_needs_no_more_slots_than_it_has_cached_experts() -> None:
    check_placement(Placement(residents=(1, 2, 3, 4, 5), layer_slots=(6, 3)), CONFIG, 9, mapped=True)


def test_tables_for_the_runtime() -> None:
    placement = Placement(residents=(1,), in_place=(3,), layer_slots=(3, 5))
    assert placement.places(6) == [0, 1, 0, 2, 0, 0]
    assert placement.first_slots() == [0, 3, 8]
    assert Placement().places(6) == Placement().first_slots() == []
