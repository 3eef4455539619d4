"""The whole image in one problem: what lies where, when memories are short."""

import msgspec
import pytest

from mmoe_embed.board import Board, load_board
from mmoe_embed.errors import FitError
from mmoe_embed.image import Part, fits, free_bytes, image_problem, place_image

ADVICE = dict.fromkeys(("text", "rodata", "experts", "data", "stack", "arena", "kv", "slots"), "less")


def short_board(tcm_bytes: int, sram_bytes: int) -> Board:
    """The STM32F4 Discovery (core-coupled memory and SRAM) with other sizes."""
    board = load_board("st_stm32f4discovery")
    sizes = {"ccm": tcm_bytes, "sram": sram_bytes}
    memory = [msgspec.structs.replace(m, size=sizes.get(m.name, m.size), budget=None) for m in board.memory]
    return msgspec.structs.replace(board, memory=memory)


def where(board: Board, parts: list[Part]) -> dict[str, str]:
    return {region.use: region.memory for region in place_image(board, parts, ADVICE)}


def test_place_image_gives_the_fast_memory_to_what_is_touched_most() -> None:
    board = short_board(4096, 65536)
    quiet = [Part("data", 4096, 1, 1), Part("arena", 4096, 8, 8)]
    assert where(board, quiet) == {"data": "sram", "arena": "ccm"}
    assert where(board, [Part("data", 4096, 8, 8), Part("arena", 4096, 1, 1)]) == {"data": "ccm", "arena": "sram"}


def test_place_image_spills_what_lets_everything_fit() -> None:
    """In order of preference data would take the core-coupled memory and the arena would fit nowhere."""
    board = short_board(8192, 8192)
    parts = [Part("data", 3000, 9, 9), Part("arena", 8000, 1, 1), Part("kv", 5000)]
    assert where(board, parts) == {"data": "sram", "arena": "ccm", "kv": "sram"}


def test_place_image_misfit_names_the_part_and_the_bytes() -> None:
    board = short_board(4096, 8192)
    with pytest.raises(FitError, match=r"kv does not fit st_stm32f4discovery: needs 9000 B, has 8192 B \(808 B over\)"):
        place_image(board, [Part("data", 2000), Part("kv", 9000)], ADVICE)
    with pytest.raises(FitError, match=r"slots does not fit .*: needs 5000 B, has 3192 B \(1808 B over\)") as failure:
        place_image(board, [Part("kv", 5000), Part("slots", 5000)], ADVICE)
    assert failure.value.at == "memory sram of 8192 B, which holds kv 5000 B"


def test_fits_is_monotone_in_slots() -> None:
    board = short_board(4096, 65536)
    parts = [Part("data", 3000, 16, 16), Part("stack", 2000, 64, 64), Part("arena", 2000, 9, 9), Part("kv", 20000)]
    verdicts = [fits(board, [*parts, Part("slots", n * 3000)]) for n in range(1, 20)]
    most = verdicts.count(True)
    assert 0 < most < len(verdicts)
    assert verdicts == [True] * most + [False] * (len(verdicts) - most)
    regions = place_image(board, [*parts, Part("slots", most * 3000)], ADVICE)
    assert min(free_bytes(board, regions).values()) >= 0


def test_image_problem_pools_cost_what_the_board_says() -> None:
    board = load_board("st_stm32f4discovery")
    pools = {pool.name: pool for pool in image_problem(board, [Part("data", 1)]).pools}
    assert pools["ccm"].read_cost < pools["sram"].read_cost
