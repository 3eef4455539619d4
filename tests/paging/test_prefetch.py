"""Reading the next layer's experts ahead: what a plan expects of it, and what boards do."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paging.conftest import SLOTS, copy_objects
from paging.synthetic import EXPERTS, LAYERS, TOP_K, zipf
from paging.test_flash_model import run_cli

from mmoe_embed.board import load_board
from mmoe_embed.build import BuildRequest, build_firmware
from mmoe_embed.build_folder import BuildFolder
from mmoe_embed.golden_board import load_golden
from mmoe_embed.paging.cost import Times
from mmoe_embed.paging.placed import PlacedCache
from mmoe_embed.paging.placement import RESIDENT, Placement
from mmoe_embed.paging.prefetch import Forecast, Turn, choose_prefetch, forecast
from mmoe_embed.paging.replay import RUNTIME_POLICIES
from mmoe_embed.plan import PlanRequest
from mmoe_embed.runners import connect_board

WATCH = Path(__file__).resolve().parents[2] / "examples" / "watch"
# a read takes as long as a layer, so that there is time for one ahead
TIMES = Times(head=0.0, layer=100.0, shared=50.0, expert=10.0, check=0.0, check_early=0.0, read=100.0)


def make_turns(seed: int, right: float, tokens: int = 150) -> list[Turn]:
    """A zipf trace whose guesses are right with a chance of `right`, and else of the rarest half of the layer."""
    source, choices, turns = np.random.default_rng(seed), zipf(seed, tokens=tokens), []
    rare = [np.argsort(np.bincount(choices[:, layer].ravel(), minlength=EXPERTS)) for layer in range(LAYERS)]
    for choice in choices:
        for layer, chosen in enumerate(choice):
            first = layer * EXPERTS
            drawn = source.permutation(rare[layer][: EXPERTS // 2])[:TOP_K]
            guess = np.where(source.random(TOP_K) < right, chosen, drawn)
            guesses = [] if layer == 0 else [first + int(e) for e in guess]
            turns.append(Turn(layer, sorted(first + int(e) for e in chosen), layer == 0, guesses))
    return turns


def run(turns: list[Turn], prefetch: int, times: Times = TIMES, slots: int = 40, policy: str = "wait") -> Forecast:
    return forecast(turns, 0, PlacedCache(policy, LAYERS, EXPERTS, slots, Placement()), times, prefetch)


def test_right_guesses_save_stall_and_wrong_ones_cost_it() -> None:
    plain = run(make_turns(1, 1.0), 0)
    assert plain.unused == 0
    right, wrong = (run(make_turns(1, chance), 1) for chance in (1.0, 0.0))
    assert right.stall_us < 0.9 * plain.stall_us
    assert right.unused < 0.1 * right.reads
    assert wrong.reads - wrong.unused > plain.reads  # what they evicted is read again
    assert choose_prefetch([plain, right]) == 1
    assert choose_prefetch([plain, wrong]) == 0
    slow = dataclasses.replace(TIMES, read=160.0)  # what was guessed is still being read when the next layer routes
    assert run(make_turns(1, 0.0), 1, slow).stall_us > 1.05 * run(make_turns(1, 0.0), 0, slow).stall_us


def test_little_is_saved_where_the_flash_is_hardly_idle_and_nothing_where_it_is_always() -> None:
    turns = make_turns(1, 1.0)
    slow, fast = (dataclasses.replace(TIMES, read=read) for read in (3000.0, 1.0))
    assert 0.95 < run(turns, 2, slow).stall_us / run(turns, 0, slow).stall_us <= 1
    plain, ahead = run(turns, 0, fast), run(turns, 2, fast)
    assert plain.stall_us == ahead.stall_us == 0
    assert choose_prefetch([plain, ahead]) == 0


def test_stall_without_prefetch_is_what_can_be_told_by_hand() -> None:
    """Two layers of one token: both experts miss; the second read ends at 300, computing is at 200 + 10 by then."""
    turns = [Turn(0, [0, 1], True, []), Turn(1, [EXPERTS, EXPERTS + 1], False, [])]
    assert run(turns, 0) == Forecast(0, 0.0, 2 * (50.0 + 90.0), 4, 0)
    early = dataclasses.replace(TIMES, check=40.0, check_early=30.0)
    assert run(turns[:1], 0, early) == Forecast(0, 0.0, 20.0 + (200.0 - 100.0 - 10.0 - 10.0 - 30.0), 2, 0)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(sorted(RUNTIME_POLICIES)), st.integers(2 * TOP_K + 1, 60), st.integers(0, 2**32), st.booleans())
def test_read_ahead_keeps_the_rules(policy: str, slots: int, seed: int, residents: bool) -> None:
    placement = Placement(residents=(1, 40), in_place=(2, 41)) if residents and slots > 6 else Placement()
    places = placement.places(LAYERS * EXPERTS) or [0] * (LAYERS * EXPERTS)
    cache = PlacedCache(policy, LAYERS, EXPERTS, slots, placement)
    before: list[int] = []
    for turn in make_turns(seed, 0.5, tokens=12):
        for expert in turn.guesses:
            was = [bool(held) for layer in range(LAYERS) for held in cache.held(layer)]
            read = cache.read_ahead(turn.layer, expert, before)
            held = [bool(held) for layer in range(LAYERS) for held in cache.held(layer)]
            assert read == (held[expert] and not was[expert])
            assert sum(held) <= slots
            assert all(held[number] or not was[number] for number in before)
            assert all(held[number] or not was[number] for number, place in enumerate(places) if place == RESIDENT)
            before = [*before, expert] if read else before
        cache.access(turn.layer, turn.experts, turn.starts_token)
        before = turn.experts


@pytest.mark.gcc
def test_board_reads_ahead_what_the_golden_guesses(
    paged_build: BuildFolder, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Where a read takes no time every guess is read, so that the board's counters are those of a replay."""
    folder = tmp_path_factory.mktemp("ahead") / "build"
    copy_objects(paged_build, folder)
    request = PlanRequest(expert_slots=SLOTS, prefetch=2)
    build = build_firmware(BuildRequest(WATCH, "host_x86_64", folder, "int4", request))
    golden = load_golden(build)
    config = golden.config
    turns = []
    with connect_board(load_board(build.board), build) as client:
        client.reset(empty_slots=True, clear_statistics=True)
        for token in golden.prompt_tokens("set a timer for seven minutes and tell bob that i am late")[:40]:
            assert client.step(token).argmax == int(np.argmax(golden.step(token)))
            for layer, guesses in enumerate(golden.guess_experts().tolist()):
                first = layer * config.num_experts
                chosen = [first + int(expert) for expert in golden.routes[layer]]
                turns.append(Turn(layer, chosen, layer == 0, [first + guess for guess in guesses if guess >= 0]))
        statistics = client.statistics()
    cache = PlacedCache(build.plan["policy"], config.num_hidden_layers, config.num_experts, SLOTS, Placement())
    told = forecast(turns, 0, cache, dataclasses.replace(TIMES, read=0.0), 2)
    reads, unused = (round(each * statistics.steps) for each in (told.reads, told.unused))
    assert statistics.prefetched + statistics.misses == reads
    assert statistics.prefetched - statistics.prefetch_used == unused
    assert statistics.hits / (statistics.hits + statistics.misses) == pytest.approx(told.hit_rate)
    assert statistics.prefetch_used > 10


@pytest.mark.arm
@pytest.mark.qemu
def test_prefetch_that_a_plan_chooses_has_the_goldens_bits_and_is_reported(
    paged_build: BuildFolder, tmp_path: Path
) -> None:
    """On the emulated Cortex-M55 the flash is idle at times, and the plan uses that; on a Cortex-M4 nothing would be saved."""
    run_cli("trace", paged_build.path, "--limit", "6", "-o", tmp_path / "trace.csv")
    options = ("--sram", "128K", "--scheme", "int4", "--flash-model", "20M", "--trace", tmp_path / "trace.csv")
    plain = run_cli("plan", WATCH, "--board", "qemu_mps2_an386", *options)
    assert plain["paging"]["prefetch"] == 0
    assert [told["prefetch"] for told in plain["promise"]["forecasts"]] == [0, 1, 2, 3, 4]
    build = run_cli("build", WATCH, "--board", "qemu_mps3_an547", *options, "-o", tmp_path / "b")
    assert build["plan"]["paging"]["prefetch"] > 0
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("call mum\n")
    report = run_cli("validate", tmp_path / "b", "--prompts", prompts, "--steps", "30")
    assert report["ok"]
    ahead, statistics = report["paging"]["prefetch"], report["statistics"]
    assert 0 < ahead["used"] <= ahead["pages"] == statistics["prefetched"]
    assert ahead["wasted_bytes"] == (ahead["pages"] - ahead["used"]) * build["plan"]["expert_bytes"]
    assert ahead["saved_us_per_token"] > 0
    assert report["paging"]["predicted_stall_us_per_token"] > 0


def test_plan_without_guesses_says_so(tmp_path: Path, paged_build: BuildFolder) -> None:
    trace = tmp_path / "trace.csv"
    run_cli("trace", paged_build.path, "--limit", "2", "-o", trace)
    lines = [line if line[0] == "#" else line.rsplit(",", 1)[0] for line in trace.read_text().splitlines()]
    trace.write_text("\n".join(lines) + "\n")
    options = ("--sram", "128K", "--flash-model", "20M", "--trace", trace)
    plan = run_cli("plan", WATCH, "--board", "qemu_mps3_an547", *options)
    assert len(plan["promise"]["forecasts"]) == 1
    assert plan["paging"]["prefetch"] == 0
    asked = run_cli("plan", WATCH, "--board", "qemu_mps3_an547", *options, "--prefetch", "3")
    assert json.dumps(asked["paging"]) == json.dumps(plan["paging"] | {"prefetch": 3})
