"""The pager behind a port that fails in every way a port can."""

import ctypes
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mmoe_embed.paging.cache import AgedLfuCache, LruCache
from mmoe_embed.paging.scores import WaitCache

pytestmark = pytest.mark.gcc

OK, ARGUMENT, PAGE_CRC, PAGE_READ, PAGE_TIMEOUT, IMAGE = 0, -1, -5, -6, -7, -8
LRU, LFU, WAIT = 0, 1, 2
LAYERS, EXPERTS, TOP_K, EXPERT_BYTES, ALIGNMENT = 2, 8, 2, 64, 128
MODEL_ID = b"\x11" * 32
COUNTERS = ("hits", "misses", "load_errors", "bytes_loaded", "load_ticks", "stall_ticks", "prefetched", "prefetch_used")
OF_ALL = ("load_errors", "prefetched", "prefetch_used")
CACHED, RESIDENT, IN_PLACE = 0, 1, 2


def page(expert: int) -> bytes:
    """What the page of an expert holds."""
    return np.random.default_rng(expert).bytes(EXPERT_BYTES)


def make_image(model_id: bytes = MODEL_ID, version: int = 1, magic: bytes = b"MMOE") -> bytearray:
    """An expert image of SPEC.md 6."""
    count = LAYERS * EXPERTS
    first = -(-(64 + 12 * count) // ALIGNMENT) * ALIGNMENT
    offsets = [first + i * ALIGNMENT for i in range(count)]
    header = struct.pack(
        "<4sHHIIII32sI", magic, version, 64, count, ALIGNMENT, offsets[-1] + EXPERT_BYTES, EXPERT_BYTES, model_id, 0
    )
    image = bytearray(b"\xff" * (offsets[-1] + EXPERT_BYTES))
    image[:64] = header + struct.pack("<I", zlib.crc32(header))
    for i, offset in enumerate(offsets):
        struct.pack_into("<III", image, 64 + 12 * i, offset, EXPERT_BYTES, zlib.crc32(page(i)))
        image[offset : offset + EXPERT_BYTES] = page(i)
    return image


class Pager:
    """The C pager with its fake port, which has so many reads at once."""

    def __init__(self, library: Path, at_once: int) -> None:
        self.c, self.at_once = ctypes.CDLL(str(library)), at_once
        self.c.fake_take.restype = ctypes.c_void_p

    def open(self, slots: int, policy: int = LRU, image: bytes | None = None, mapped: int = 0) -> int:
        data = bytes(make_image() if image is None else image)
        return int(self.c.fake_open(data, len(data), LAYERS, EXPERTS, TOP_K, EXPERT_BYTES, slots, policy, mapped))

    def set(self, **switches: int) -> None:
        for name, value in switches.items():
            ctypes.c_int.in_dll(self.c, f"fake_{name}").value = value

    def get(self, name: str) -> int:
        return ctypes.c_int.in_dll(self.c, f"fake_{name}").value

    def layer(self, layer: int) -> dict[str, int]:
        values = (ctypes.c_uint64 * len(COUNTERS))()
        self.c.fake_read_statistics(layer, values)
        return dict(zip(COUNTERS, values, strict=True))

    def statistics(self) -> dict[str, int]:
        layers = [self.layer(layer) for layer in range(LAYERS)]
        return {name: layers[0][name] if name in OF_ALL else sum(each[name] for each in layers) for name in COUNTERS}

    def want(self, experts: list[int]) -> list[int]:
        hits = (ctypes.c_uint8 * len(experts))()
        self.c.mmoe_pager_want((ctypes.c_uint16 * len(experts))(*experts), len(experts), hits)
        return list(hits)

    def take(self, expert: int, count: int = EXPERT_BYTES) -> tuple[int, bytes]:
        status = ctypes.c_int32()
        address = self.c.fake_take(expert, count, ctypes.byref(status))
        return status.value, ctypes.string_at(address, count) if address else b""

    def run_layer(self, experts: list[int]) -> list[int]:
        """As the MoE operation does it: hits, then misses; every page must be the right one."""
        hits = self.want(experts)
        order = [e for e, hit in zip(experts, hits, strict=True) if hit] + [
            e for e, hit in zip(experts, hits, strict=True) if not hit
        ]
        for expert in order:
            assert self.take(expert) == (OK, page(expert))
            self.c.mmoe_pager_release(expert)
            self.c.mmoe_pager_poll()
        return hits


@pytest.fixture(params=[1, 3])
def pager(request: pytest.FixtureRequest, shared_library: Path, library_of_three_reads: Path) -> Pager:
    """With one read at once, as on a board, and with three."""
    return Pager(shared_library if request.param == 1 else library_of_three_reads, request.param)


def random_tokens(count: int, seed: int = 0) -> list[list[list[int]]]:
    """For each token and layer the chosen experts, some far more often than others."""
    random = np.random.default_rng(seed)
    weights = 1 / np.arange(1, EXPERTS + 1)

    def choose(layer: int) -> list[int]:
        chosen = random.choice(EXPERTS, TOP_K, replace=False, p=weights / weights.sum())
        return sorted((layer * EXPERTS + chosen).tolist())

    return [[choose(layer) for layer in range(LAYERS)] for _ in range(count)]


def simulate(tokens: list[list[list[int]]], slots: int, policy: int) -> list[list[int]]:
    """The replay of `mmoe-embed simulate`: hit flags for each layer of each token."""
    sizes, budget = [1] * (LAYERS * EXPERTS), slots
    caches = {LRU: LruCache(sizes, budget), LFU: AgedLfuCache(sizes, budget), WAIT: WaitCache(sizes, budget, LAYERS)}
    cache, flags = caches[policy], []
    for token in tokens:
        for layer, batch in enumerate(token):
            cache.access(layer, batch, layer == 0)
            flags.append([int(expert not in cache.missing) for expert in batch])
    return flags


@pytest.mark.parametrize("policy", [LRU, LFU, WAIT])
@pytest.mark.parametrize("slots", [TOP_K + 1, 5, 9, 15])
@pytest.mark.parametrize("polls", [0, 3])
def test_pager_hits_as_simulate_says(pager: Pager, slots: int, policy: int, polls: int) -> None:
    tokens = random_tokens(300)
    assert pager.open(slots, policy) == OK
    pager.set(polls=polls)
    flags = []
    for token in tokens:
        pager.c.mmoe_pager_begin_pass()
        flags += [pager.run_layer(layer) for layer in token]
    expected = simulate(tokens, slots, policy)
    assert flags == expected
    hits = sum(map(sum, expected))
    uses = 300 * LAYERS * TOP_K
    counted = pager.statistics()
    assert (counted["hits"], counted["misses"], counted["load_errors"]) == (hits, uses - hits, 0)
    assert counted["bytes_loaded"] == (uses - hits) * EXPERT_BYTES
    assert [pager.layer(layer)["hits"] for layer in range(LAYERS)] == [
        sum(map(sum, expected[layer::LAYERS])) for layer in range(LAYERS)
    ]
    assert pager.get("overlaps") == 0


def test_emptied_pager_repeats_its_decisions(pager: Pager) -> None:
    assert pager.open(5, WAIT) == OK
    runs = []
    for _ in range(2):
        pager.c.mmoe_pager_empty()
        flags = []
        for token in random_tokens(100):
            pager.c.mmoe_pager_begin_pass()
            flags += [pager.run_layer(layer) for layer in token]
        runs.append(flags)
    assert runs[0] == runs[1]


def test_lfu_keeps_what_lru_loses_in_a_cycle(pager: Pager) -> None:
    """Two favourites among a cycle longer than the slots: LRU hardly hits, LFU keeps the favourites."""
    hits = {}
    for policy in (LRU, LFU):
        assert pager.open(3, policy) == OK
        for number in range(100):
            pager.c.mmoe_pager_begin_pass()
            pager.run_layer([0, 1 + number % 7])
            pager.run_layer([8, 9 + number % 7])
        hits[policy] = pager.statistics()["hits"]
    assert hits[LFU] > 180
    assert hits[LRU] < 120


@pytest.mark.parametrize("slots", [1, 2, 3, 16, 40])
@pytest.mark.parametrize("polls", [0, 1, 7])
def test_pages_are_right_for_any_number_of_slots(pager: Pager, slots: int, polls: int) -> None:
    assert pager.open(slots, LFU) == OK
    pager.set(polls=polls)
    for token in random_tokens(60, seed=slots):
        pager.c.mmoe_pager_begin_pass()
        for layer in token:
            pager.run_layer(layer)
    if slots >= LAYERS * EXPERTS:  # all resident: each loaded once
        assert pager.statistics()["misses"] <= LAYERS * EXPERTS


@pytest.mark.parametrize("slots", [1, 2, 3, 5])
@pytest.mark.parametrize("polls", [0, 3, 30])
def test_first_part_of_a_page_is_there_before_the_rest(pager: Pager, slots: int, polls: int) -> None:
    assert pager.open(slots) == OK
    pager.set(polls=polls, progress=1)
    for token in random_tokens(30, seed=slots):
        pager.c.mmoe_pager_begin_pass()
        for layer in token:
            hits = pager.want(layer)
            for expert in sorted(layer, key=lambda e: 1 - hits[layer.index(e)]):
                assert pager.take(expert, 40) == (OK, page(expert)[:40])
                assert pager.take(expert) == (OK, page(expert))
                pager.c.mmoe_pager_release(expert)
                pager.c.mmoe_pager_poll()
    assert pager.get("overlaps") == 0


def test_part_of_a_damaged_page_ends_in_its_name(pager: Pager) -> None:
    image = make_image()
    image[-1] ^= 1
    assert pager.open(3, image=image) == OK
    pager.set(polls=9, progress=1)
    last = LAYERS * EXPERTS - 1
    for _ in range(2):
        pager.c.mmoe_pager_begin_pass()
        pager.want([last])
        assert pager.take(last, 40) == (OK, page(last)[:40])
        assert pager.take(last) == (PAGE_CRC, b"")


def test_second_read_runs_while_the_first_expert_is_computed(pager: Pager) -> None:
    assert pager.open(TOP_K + 1) == OK
    starts = pager.get("starts")
    assert pager.want([0, 1]) == [0, 0]
    assert pager.take(0) == (OK, page(0))
    assert pager.get("starts") == starts + 2


def test_port_has_as_many_reads_as_it_takes(pager: Pager) -> None:
    assert pager.open(2 * TOP_K) == OK
    starts = pager.get("starts")
    pager.set(polls=5)
    pager.want([0, 1, 2, 3])
    assert pager.get("starts") == starts + pager.at_once
    for expert in range(4):
        assert pager.take(expert) == (OK, page(expert))
    assert pager.get("overlaps") == 0
    assert 0 < pager.layer(0)["load_ticks"] < pager.c.fake_now()  # time counts once, however many reads run in it


def test_experts_in_place_need_no_slot(pager: Pager) -> None:
    assert pager.open(0, mapped=True) == OK
    starts = pager.get("starts")
    assert pager.run_layer([3, 5]) == [1, 1]
    assert pager.run_layer([3, 5]) == [1, 1]
    assert pager.get("starts") == starts
    assert pager.statistics()["hits"] == 4


def test_bad_page_in_place_is_named(pager: Pager) -> None:
    image = make_image()
    image[-1] ^= 1
    assert pager.open(0, image=image, mapped=True) == OK
    last = LAYERS * EXPERTS - 1
    pager.want([8, last])
    assert pager.take(8)[0] == OK
    assert pager.take(last) == (PAGE_CRC, b"")
    assert pager.statistics()["load_errors"] == 1


def test_bad_page_is_named_and_the_pager_lives(pager: Pager) -> None:
    image = make_image()
    image[-1] ^= 1
    assert pager.open(3, image=image) == OK
    last = LAYERS * EXPERTS - 1
    for attempt in range(1, 4):
        pager.c.mmoe_pager_begin_pass()
        assert pager.want([9, last])[1] == 0
        assert pager.take(9) == (OK, page(9))
        assert pager.take(last) == (PAGE_CRC, b"")
        assert pager.statistics()["load_errors"] == attempt
    pager.c.mmoe_pager_begin_pass()
    pager.run_layer([8, 10])


def test_short_read_is_found_by_its_crc(pager: Pager) -> None:
    assert pager.open(3) == OK
    pager.want([0])  # its table entry is read whole
    pager.set(short=1)
    assert pager.take(0) == (PAGE_CRC, b"")
    pager.set(short=0)
    pager.c.mmoe_pager_begin_pass()
    pager.run_layer([0, 1])


@pytest.mark.parametrize("switch", ["start_status", "done_status"])
@pytest.mark.parametrize("mapped", [False, True])
def test_failing_driver_is_named(pager: Pager, switch: str, mapped: bool) -> None:
    assert pager.open(3, mapped=mapped) == OK
    pager.set(**{switch: PAGE_READ})
    pager.want([0, 1])
    assert pager.take(0) == (PAGE_READ, b"")
    assert pager.statistics()["load_errors"] == (1 if switch == "start_status" else min(2, pager.at_once))
    pager.set(**{switch: 0})
    pager.c.mmoe_pager_begin_pass()
    pager.run_layer([0, 1])


def test_stuck_driver_times_out_and_its_slot_is_left_alone(pager: Pager) -> None:
    assert pager.open(3, mapped=True) == OK
    pager.run_layer([0, 1])
    pager.set(stuck=1)
    for _ in range(3):
        pager.c.mmoe_pager_begin_pass()
        pager.want([2, 3])
        assert pager.take(2) == (PAGE_TIMEOUT, b"")
    assert pager.get("overlaps") == 0  # no second read was started meanwhile
    pager.c.mmoe_pager_begin_pass()
    assert pager.want([4, 5]) == [0, 0]  # another expert waits for the driver too
    assert pager.take(4) == (PAGE_TIMEOUT, b"")
    pager.set(stuck=0)
    pager.c.mmoe_pager_begin_pass()
    pager.run_layer([4, 5])
    pager.run_layer([2, 3])
    assert pager.get("overlaps") == 0


def test_late_answer_is_taken_for_no_other_read(pager: Pager) -> None:
    """A read of the table times out: until the driver has answered it, no other one starts."""
    assert pager.open(3) == OK
    entry = ctypes.create_string_buffer(64)
    starts = pager.get("starts")
    pager.set(stuck=1)
    for _ in range(2):
        assert pager.c.mmoe_image_read(entry, 0, 64) == PAGE_TIMEOUT
    pager.want([0, 1])
    assert pager.take(0) == (PAGE_TIMEOUT, b"")
    assert pager.get("starts") == starts + 1
    pager.set(stuck=0)
    pager.c.mmoe_pager_begin_pass()
    pager.run_layer([0, 1])
    assert entry.raw == bytes(make_image()[:64])


def test_read_of_a_lost_pass_fails_alone(pager: Pager) -> None:
    assert pager.open(4) == OK
    pager.set(polls=3)
    pager.want([0, 1])
    pager.c.mmoe_pager_begin_pass()  # the pass before was given up while 0 was on its way
    pager.want([2, 3])
    pager.set(done_status=PAGE_READ)
    while pager.statistics()["load_errors"] == 0:
        pager.c.mmoe_pager_poll()
    pager.set(done_status=0)
    assert pager.take(2) == (OK, page(2))
    assert pager.take(3) == (OK, page(3))


def test_failing_read_ends_the_wait_for_another(pager: Pager) -> None:
    assert pager.open(4) == OK
    pager.set(done_status=PAGE_READ)
    pager.want([0, 1])
    assert pager.take(1) == (PAGE_READ, b"")  # at once: it will not be read any more
    assert pager.statistics()["load_errors"] == min(2, pager.at_once)


def test_residents_stay_whatever_comes(pager: Pager) -> None:
    assert pager.open(5, LRU) == OK
    for expert in (1, 9):
        pager.c.fake_place(expert, RESIDENT)
    pager.run_layer([1, 2])
    pager.run_layer([9, 10])
    for token in random_tokens(40):
        pager.c.mmoe_pager_begin_pass()
        for layer in token:
            pager.run_layer(layer)
    assert pager.run_layer([1, 2])[0] == 1
    assert pager.run_layer([9, 10])[0] == 1


def test_experts_in_place_beside_slots(pager: Pager) -> None:
    assert pager.open(3, LRU, mapped=True) == OK
    pager.c.fake_place(2, IN_PLACE)
    for _ in range(3):
        pager.c.mmoe_pager_begin_pass()
        assert pager.run_layer([2, 3])[0] == 1
        pager.run_layer([8, 9])
    assert pager.c.fake_slot_of(2) == 0  # its CRC-32 was right; it has no slot
    image = make_image()
    image[struct.unpack_from("<I", image, 64 + 12 * 2)[0]] ^= 1
    assert pager.open(3, image=image, mapped=True) == OK
    pager.c.fake_place(2, IN_PLACE)
    pager.want([2, 3])
    assert pager.take(2) == (PAGE_CRC, b"")
    assert pager.take(3) == (OK, page(3))


def test_layers_keep_to_their_own_slots(pager: Pager) -> None:
    assert pager.open(8, LFU) == OK
    pager.c.fake_divide_slots((ctypes.c_uint16 * 3)(0, 3, 8))
    for token in random_tokens(60):
        pager.c.mmoe_pager_begin_pass()
        for layer in token:
            pager.run_layer(layer)
    for expert in range(LAYERS * EXPERTS):
        slot = pager.c.fake_slot_of(expert)
        assert slot == 0xFFFF or (slot < 3) == (expert < EXPERTS)


def test_guessed_experts_are_read_last_and_counted(pager: Pager) -> None:
    assert pager.open(6, LRU) == OK
    pager.set(polls=1)
    guess = (ctypes.c_uint16 * 2)(8, 9)
    pager.want([0, 1])
    pager.c.mmoe_pager_want_later(guess, 2)
    assert pager.c.fake_slot_of(8) == 0xFFFF  # the wanted ones come first
    for expert in (0, 1):
        assert pager.take(expert) == (OK, page(expert))
        pager.c.mmoe_pager_release(expert)
    for _ in range(9):
        pager.c.mmoe_pager_poll()
    assert pager.run_layer([8, 10]) == [1, 0]
    assert (pager.statistics()["prefetched"], pager.statistics()["prefetch_used"]) == (2, 1)


def test_guess_is_forgotten_when_the_next_layer_chooses(pager: Pager) -> None:
    assert pager.open(6, LRU) == OK
    pager.set(polls=40)
    pager.want([0])
    pager.c.mmoe_pager_want_later((ctypes.c_uint16 * 2)(8, 9), 2)
    assert pager.take(0) == (OK, page(0))
    pager.c.mmoe_pager_release(0)
    pager.run_layer([10, 11])
    assert pager.c.fake_slot_of(9) == 0xFFFF
    assert pager.statistics()["prefetched"] <= 1


def test_failing_guess_costs_no_token(pager: Pager) -> None:
    image = make_image()
    assert pager.open(6, LRU, image=image) == OK
    pager.want([0, 1])
    assert pager.take(0)[0] == OK
    assert pager.take(1)[0] == OK
    pager.set(done_status=PAGE_READ)
    pager.c.mmoe_pager_want_later((ctypes.c_uint16 * 1)(8), 1)
    pager.c.mmoe_pager_poll()
    pager.set(done_status=0)
    assert pager.run_layer([8, 9]) == [0, 0]
    assert pager.statistics()["load_errors"] == 1


def test_emptied_slots_miss_again(pager: Pager) -> None:
    assert pager.open(6) == OK
    assert pager.run_layer([0, 1]) == [0, 0]
    assert pager.run_layer([0, 1]) == [1, 1]
    pager.c.mmoe_pager_empty()
    assert pager.run_layer([0, 1]) == [0, 0]


def _without_crc(change: Callable[[bytearray], None]) -> bytearray:
    image = make_image()
    change(image)
    return image


def _with_crc(change: Callable[[bytearray], None]) -> bytearray:
    image = _without_crc(change)
    struct.pack_into("<I", image, 60, zlib.crc32(bytes(image[:60])))
    return image


WRONG_IMAGES = {
    "other model": make_image(model_id=b"\x22" * 32),
    "other version": make_image(version=2),
    "no magic": make_image(magic=b"EMOM"),
    "erased flash": bytearray(b"\xff" * 4096),
    "header damaged": _without_crc(lambda i: i.__setitem__(30, i[30] ^ 1)),
    "other count": _with_crc(lambda i: struct.pack_into("<I", i, 8, 15)),
    "other expert size": _with_crc(lambda i: struct.pack_into("<I", i, 20, 80)),
    "odd alignment": _with_crc(lambda i: struct.pack_into("<I", i, 12, 24)),
    "shorter than its table says": _with_crc(lambda i: struct.pack_into("<I", i, 16, 1024)),
    "page outside": _with_crc(lambda i: struct.pack_into("<I", i, 64, 0xFFFFFF80)),
    "page not aligned": _with_crc(lambda i: struct.pack_into("<I", i, 64, 300)),
    "page over the table": _with_crc(lambda i: struct.pack_into("<I", i, 64, 128)),
    "page of another length": _with_crc(lambda i: struct.pack_into("<I", i, 68, 48)),
}


@pytest.mark.parametrize("what", WRONG_IMAGES)
@pytest.mark.parametrize("mapped", [False, True])
def test_wrong_image_is_refused(pager: Pager, what: str, mapped: bool) -> None:
    assert pager.open(3, image=WRONG_IMAGES[what], mapped=mapped) == IMAGE


@pytest.mark.parametrize("shift", range(17))
def test_a_mapped_image_begins_at_a_multiple_of_16(pager: Pager, shift: int) -> None:
    assert pager.open(3, mapped=1 + shift) == (ARGUMENT if shift % 16 else OK)


# --- slots that outlive a reset ------------------------------------------------------------------------------------------


def fill(pager: Pager, slots: int = 4) -> list[int]:
    """Load experts into every slot; which ones."""
    assert pager.open(slots) == OK
    pager.run_layer([0, 1])
    pager.run_layer([8, 9])
    return [0, 1, 8, 9]


def test_slots_outlive_a_reset(pager: Pager) -> None:
    fill(pager)
    assert pager.c.fake_restart() == 4
    starts = pager.get("starts")
    assert pager.run_layer([0, 1]) == [1, 1]
    assert pager.run_layer([8, 9]) == [1, 1]
    assert pager.get("starts") == starts
    assert pager.run_layer([10, 11]) == [0, 0]
    assert pager.c.fake_restart() == 4  # two of them others than before


def test_slot_that_was_damaged_is_read_again(pager: Pager) -> None:
    experts = fill(pager)
    pager.c.fake_damage_slot(pager.c.fake_slot_of(8))
    assert pager.c.fake_restart() == 3
    assert [pager.c.fake_slot_of(expert) == 0xFFFF for expert in experts] == [False, False, True, False]
    assert pager.run_layer([8, 9]) == [0, 1]


def test_slot_that_was_being_loaded_is_read_again(pager: Pager) -> None:
    fill(pager)
    pager.set(polls=9)
    pager.want([2, 3])
    # slots that are being read into hold neither their experts nor what they held before
    assert pager.c.fake_restart() == 4 - min(2, pager.at_once)
    assert pager.run_layer([2, 3]) == [0, 0]


def test_slot_of_an_expert_that_was_replaced_is_read_again(pager: Pager) -> None:
    fill(pager)
    replaced = page(70)
    offset = struct.unpack_from("<I", make_image(), 64 + 12 * 9)[0]
    pager.c.fake_write_image(offset, replaced, EXPERT_BYTES)
    pager.c.fake_write_image(64 + 12 * 9 + 8, struct.pack("<I", zlib.crc32(replaced)), 4)
    assert pager.c.fake_restart() == 3
    assert pager.want([8, 9]) == [1, 0]
    assert pager.take(9) == (OK, replaced)


def test_slots_go_only_to_experts_that_may_have_them(pager: Pager) -> None:
    fill(pager, 8)
    pager.c.fake_divide_slots((ctypes.c_uint16 * 3)(0, 3, 8))  # 0 and 1 are where layer 0 may be, 8 not, 9 is
    pager.c.fake_place(1, IN_PLACE)
    assert [pager.c.fake_slot_of(expert) for expert in (0, 1, 8, 9)] == [0, 1, 2, 3]
    assert pager.c.fake_restart() == 2
    assert [pager.c.fake_slot_of(expert) for expert in (0, 1, 8, 9)] == [0, 0xFFFF, 0xFFFF, 3]


def test_nothing_is_taken_over_from_memory_that_was_off(pager: Pager) -> None:
    assert pager.open(4) == OK
    assert pager.c.fake_restart() == 0
