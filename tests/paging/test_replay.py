"""Cache policies: the published figures, bounds, and the default policy on traces unlike each other."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paging.synthetic import EXPERTS, KINDS, LAYERS, SIZE, TOP_K, loop, route, zipf

from mmoe_embed.errors import UsageError
from mmoe_embed.paging.replay import POLICIES, Replayer, describe_cycle
from mmoe_embed.paging.trace import Trace, read_trace

MIB = 1 << 20
CAUSAL = ("default", "wait", "lru", "lfu", "lfu-aged", "mru")  # and insert what they miss


@pytest.fixture(scope="module")
def recorded(shared_data: Path) -> Replayer:
    return Replayer(read_trace(shared_data / "traces" / "qwen3_30b_a3b.route.csv"))


@pytest.mark.parametrize(
    ("budget", "lru", "lfu", "belady", "bypass"),
    [
        (250, 0.0, 17.1, 27.5, 29.2),
        (500, 0.0, 26.6, 45.3, 46.0),
        (1000, 37.7, 40.2, 62.7, 63.0),
        (3000, 70.6, 71.3, 87.8, 87.9),
    ],
)
def test_replay_gives_the_published_figures(
    recorded: Replayer, budget: int, lru: float, lfu: float, belady: float, bypass: float
) -> None:
    expected = {"lru": lru, "lfu": lfu, "belady": belady, "belady-bypass": bypass}
    rates = {policy: recorded.replay(policy, budget * MIB).decode_hit_rate for policy in expected}
    assert {policy: round(100 * rate, 1) for policy, rate in rates.items()} == expected


def test_default_is_never_behind_lru_and_lfu_and_beats_both_on_the_recorded_trace(recorded: Replayer) -> None:
    leads = []
    for budget in (50, 250, 500, 750, 800, 900, 1500, 3000, 6000, 11000):
        default, lru, lfu = (recorded.replay(name, budget * MIB).decode_hit_rate for name in ("default", "lru", "lfu"))
        assert default > 0.03
        assert default >= max(lru, lfu) - 0.005, budget
        leads.append(default - max(lru, lfu))
    assert np.mean(leads) > 0.01


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [1])
def test_default_is_never_behind_lru_and_lfu_on_synthetic_traces(kind: str, seed: int) -> None:
    replayer = Replayer(route(KINDS[kind](seed), prompt=10))
    for slots in (4, 12, 16, 32, 64, 128, 192, LAYERS * EXPERTS):
        default, lru, lfu = (replayer.replay(name, slots * SIZE).decode_hit_rate for name in ("default", "lru", "lfu"))
        assert default >= max(lru, lfu) - 0.005, slots
        assert default > 0, slots


def test_default_does_not_collapse_on_a_loop_where_lru_and_lfu_do() -> None:
    replayer = Replayer(route(loop(0)))
    rates = {name: replayer.replay(name, 96 * SIZE).decode_hit_rate for name in ("default", "lru", "lfu", "belady")}
    assert rates["lru"] == rates["lfu"] == 0
    assert rates["default"] > 0.8 * rates["belady"]


def _routes(draw) -> tuple[Trace, int]:
    layers, experts = draw(st.integers(1, 4)), draw(st.integers(1, 6))
    tokens, top_k = draw(st.integers(1, 30)), draw(st.integers(1, experts))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    choice = np.argsort(generator.random((tokens, layers, experts)) * (1 + np.arange(experts)), -1)[..., :top_k]
    return route(choice, prompt=draw(st.integers(0, tokens))), draw(st.integers(0, layers * experts + 1))


routes = st.composite(_routes)()


@settings(max_examples=60, deadline=None)
@given(routes)
def test_replay_keeps_the_rules_whatever_the_trace(drawn: tuple[Trace, int]) -> None:
    trace, slots = drawn
    replayer = Replayer(trace)
    replays = {policy: replayer.replay(policy, slots * SIZE) for policy in POLICIES}
    assert replayer.replay_all(slots * SIZE) == list(replays.values())
    hits = {policy: replay.decode_hits + replay.prefill_hits for policy, replay in replays.items()}
    for policy, replay in replays.items():
        assert replay == replayer.replay(policy, slots * SIZE)
        assert replay.prefill_accesses + replay.decode_accesses == len(trace.experts)
        assert replay.bytes_read == (len(trace.experts) - hits[policy]) * SIZE
        assert 0 <= replay.decode_hit_rate <= 1
        assert 0 <= replay.prefill_hit_rate <= 1
        assert hits[policy] <= hits["belady-bypass"]
    for policy in CAUSAL:
        if slots >= int(np.diff(trace.starts).max()):  # else a batch over the budget cuts all alike
            assert hits[policy] <= hits["belady"]


@settings(max_examples=30, deadline=None)
@given(routes, st.sampled_from(sorted(POLICIES)))
def test_replay_holds_the_budget_after_every_batch(drawn: tuple[Trace, int], policy: str) -> None:
    trace, slots = drawn
    replayer = Replayer(trace)
    cache = replayer._make_cache(policy, slots * SIZE)
    for layer, batch, starts_token in replayer._batches:
        held = sum(cache.resident)
        cache.access(layer, batch, starts_token)
        assert cache.used == sum(cache.resident) * SIZE <= slots * SIZE
        if policy != "pin":
            assert sum(cache.resident) == held + len(cache.missing) - len(cache.evicted)


@pytest.mark.parametrize("policy", POLICIES)
def test_replay_with_no_budget_hits_nothing(policy: str) -> None:
    trace = route(zipf(1, tokens=20))
    replay = Replayer(trace).replay(policy, 0)
    assert replay.decode_hits == 0
    assert replay.bytes_read == len(trace.experts) * SIZE


@pytest.mark.parametrize("policy", sorted(set(POLICIES) - {"pin"}))
def test_replay_with_everything_resident_misses_only_what_is_new(policy: str) -> None:
    trace = route(zipf(1), prompt=30)
    replay = Replayer(trace).replay(policy, LAYERS * EXPERTS * SIZE)
    assert replay.bytes_read == len(np.unique(trace.experts)) * SIZE


@pytest.mark.parametrize("policy", POLICIES)
def test_replay_counts_unequal_sizes_in_bytes(policy: str) -> None:
    trace = route(zipf(3), sizes=[100 + 37 * layer for layer in range(LAYERS)])
    replay = Replayer(trace).replay(policy, 8000)
    assert 0 < replay.decode_hit_rate < 1
    missed = replay.decode_accesses - replay.decode_hits
    assert 100 * missed <= replay.bytes_read <= (100 + 37 * LAYERS) * missed


def test_causal_policies_do_not_look_ahead() -> None:
    choice = zipf(5)
    changed = choice.copy()
    changed[200:] = zipf(6)[200:]
    for policy in CAUSAL:
        caches = []
        for routed in (choice, changed):
            replayer = Replayer(route(routed))
            cache = replayer._make_cache(policy, 40 * SIZE)
            for batch in replayer._batches[: 200 * LAYERS]:
                cache.access(*batch)
            caches.append(bytes(cache.resident))
        assert caches[0] == caches[1], policy


def test_replay_learns_from_another_trace() -> None:
    trace, other = route(zipf(1)), route(zipf(1)[::-1])
    replayer = Replayer(trace, other)
    assert replayer.replay("pin", 40 * SIZE).decode_hit_rate > 0.3
    assert replayer.replay("learned", 40 * SIZE).decode_hit_rate > 0.3
    with pytest.raises(UsageError, match="another model"):
        Replayer(trace, route(zipf(1)[:, :4]))


def test_replay_refuses_an_unknown_policy() -> None:
    with pytest.raises(UsageError, match="supported: default"):
        Replayer(route(zipf(1))).replay("best", 1)


def test_describe_cycle_warns_below_one_token_only() -> None:
    trace = route(zipf(1))
    cycle = LAYERS * TOP_K * SIZE
    assert trace.cycle_bytes == cycle
    assert describe_cycle(trace, cycle) == ""
    assert "1 B short" in describe_cycle(trace, cycle - 1)
    assert "holds no expert" in describe_cycle(trace, SIZE - 1)
