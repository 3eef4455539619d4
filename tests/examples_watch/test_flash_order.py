"""What an order of experts in flash could save, on misses whose answer is plain."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples" / "watch"))

import flash_order


def test_chain_puts_what_is_missed_together_side_by_side() -> None:
    misses = [[0, 5], [0, 5], [0, 5], [2, 5], [2, 5], [0, 2], [3], []]
    chain = flash_order.chain_pairs(misses, 6)
    assert chain == {(0, 5), (2, 5)}  # 0 and 2 are its ends: joined they would be a ring
    assert flash_order.share_merged(misses, chain) == 5 / 13
    assert flash_order.share_merged([[0, 1, 2], [4]], {(0, 1), (1, 2), (2, 3)}) == 2 / 4


def test_chain_gives_an_expert_two_neighbours_at_most() -> None:
    chain = flash_order.chain_pairs([[0, 1], [0, 1], [0, 2], [0, 2], [0, 3]], 4)
    assert chain == {(0, 1), (0, 2)}
