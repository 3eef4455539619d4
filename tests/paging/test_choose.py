"""What a plan decides about experts from a trace, and how its promise is held against the board."""

import json
from pathlib import Path

import pytest
from paging.conftest import SLOTS, copy_objects
from paging.synthetic import EXPERTS, KINDS, LAYERS, TOP_K, loop, phases, route, zipf
from random_model import small_config, write_checkpoint

from mmoe_embed.board import load_board
from mmoe_embed.build import BuildRequest, build_firmware
from mmoe_embed.build_folder import BuildFolder
from mmoe_embed.checkpoint import load_checkpoint
from mmoe_embed.cli import main
from mmoe_embed.config import ModelConfig, parse_config
from mmoe_embed.errors import UsageError
from mmoe_embed.paging.choose import Choice, ExpertCost, Workload, choose_placement, read_workload
from mmoe_embed.paging.cost import expert_cost
from mmoe_embed.paging.placed import PlacedCache
from mmoe_embed.paging.placement import Placement, check_placement
from mmoe_embed.paging.promise import compare_promise
from mmoe_embed.paging.replay import RUNTIME_POLICIES, Replayer, list_batches
from mmoe_embed.paging.trace import Trace
from mmoe_embed.plan import PlanRequest
from mmoe_embed.quantize import quantize_checkpoint
from mmoe_embed.serial.replies import Statistics
from mmoe_embed.storage import parse_flash_model

UNKNOWN = ExpertCost()


def config_of(layers: int = LAYERS, experts: int = EXPERTS, top_k: int = TOP_K) -> ModelConfig:
    watch = json.loads((Path(__file__).resolve().parents[2] / "examples/watch/checkpoint/config.json").read_text())
    watch |= {"num_hidden_layers": layers, "num_experts": experts, "num_experts_per_tok": top_k}
    return parse_config(json.dumps(watch), "test")


def choose(trace: Trace, slots: int, cost: ExpertCost = UNKNOWN, policy: str | None = None) -> Choice:
    workload = Workload("test", "0" * 64, trace)
    choice = choose_placement(workload, config_of(), slots, cost, policy=policy)
    check_placement(choice.placement, config_of(), slots, mapped=cost.in_place_us is not None)
    return choice


@pytest.mark.parametrize("policy", RUNTIME_POLICIES)
def test_placed_cache_without_placement_is_the_policy(policy: str) -> None:
    trace = route(zipf(3, tokens=150))
    cache = PlacedCache(policy, LAYERS, EXPERTS, 24, Placement())
    missed = 0
    for batch in list_batches(trace):
        cache.access(*batch)
        missed += len(cache.missing)
    replay = Replayer(trace).replay(RUNTIME_POLICIES[policy], 24 * 1000)
    assert missed == replay.decode_accesses - replay.decode_hits


def test_placed_cache_never_reads_residents_twice_nor_experts_in_place() -> None:
    trace = route(zipf(3, tokens=150))
    placement = Placement(residents=(0, 1, 2, 40), in_place=(3, 41, 42))
    cache = PlacedCache("wait", LAYERS, EXPERTS, 24, placement)
    read: list[int] = []
    for batch in list_batches(trace):
        cache.access(*batch)
        read += cache.missing
    assert all(read.count(expert) <= 1 for expert in placement.residents)
    assert not set(read) & set(placement.in_place)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("slots", [5, 24, 100])
def test_choice_is_never_worse_than_the_default_policy(kind: str, slots: int) -> None:
    trace = route(KINDS[kind](2))
    default, chosen = choose(trace, slots, policy="lfu").promise, choose(trace, slots).promise
    assert default is not None
    assert chosen is not None
    assert chosen.misses_per_token <= default.misses_per_token * 1.01
    assert chosen.hit_rate <= chosen.bound_hit_rate + 0.01  # the bound is of the whole trace, shown is its second half
    assert chosen.below_cycle == (slots < LAYERS * TOP_K)


def test_choice_pins_where_use_in_place_is_cheap_and_only_there() -> None:
    trace = route(zipf(1, 1.5))
    cheap, dear = choose(trace, 40, ExpertCost(100.0, 10.0)), choose(trace, 40, ExpertCost(100.0, 1000.0))
    assert len(cheap.placement.in_place) > 0
    assert dear.placement.in_place == ()
    assert cheap.promise is not None
    assert dear.promise is not None
    assert cheap.promise.stall_us_per_token < dear.promise.stall_us_per_token


def test_choice_does_not_trust_a_hot_list_of_another_phase() -> None:
    """The hot experts change: what the first half would pin is cold in the second."""
    assert choose(route(phases(1)), 40).placement.residents == ()


def test_choice_takes_the_users_policy() -> None:
    assert choose(route(loop(1)), 20, policy="lru").policy == "lru"


def test_choice_refuses_a_trace_of_another_model() -> None:
    with pytest.raises(UsageError, match="another model"):
        choose(route(zipf(1)[:, :4]), 20)


def test_expert_cost_needs_a_bandwidth_and_its_times_the_counts_of_kernels(tmp_path: Path) -> None:
    board = load_board("qemu_mps2_an386")
    model = quantize_checkpoint(load_checkpoint(write_checkpoint(tmp_path / "model", small_config())), "int8")
    assert expert_cost(board, model, 4000, None, in_place=True) == ExpertCost()
    cost = expert_cost(board, model, 4000, parse_flash_model("20M:20us", 32, board), in_place=True)
    assert cost.times is not None
    assert cost.times.read == cost.in_place_us == pytest.approx(220)
    assert cost.load_us == pytest.approx(220 + cost.times.check)
    # between the counts of 256 and of 4096 bytes in kernels_cmsis/results, 870 and 13,595 instructions
    assert cost.times.check == pytest.approx(13_280 * 0.032, rel=1e-3)
    blocking = expert_cost(board, model, 4000, parse_flash_model("20M:20us:blocking", 32, board), in_place=False)
    assert blocking == ExpertCost(cost.load_us)


STATISTICS = Statistics(100, 600, 400, 0, 400 * 64, 5000, 0, 0, 0, 0, 8000, 100, 0, 0, 0)


@pytest.mark.parametrize(("promised", "warns"), [(0.6, False), (0.56, False), (0.66, False), (0.5, True), (0.7, True)])
def test_promise_warns_past_ten_percent(promised: float, warns: bool) -> None:
    promise = {"hit_rate": promised, "misses_per_token": 4.0, "stall_us_per_token": 60.0, "trace": "day.csv"}
    plan = {"expert_mode": "paged", "promise": promise, "paging": {"cache_margin": 0.0}, "expert_bytes": 64}
    report = compare_promise(plan, STATISTICS, 0, 1_000_000)
    assert report is not None
    assert (report.hit_rate, report.misses_per_token, report.stall_us_per_token) == (0.6, 4.0, 50.0)
    assert bool(report.warning) == warns
    assert ("mmoe-embed trace" in report.summary()) == warns
    assert "60 us of stall at most" in report.summary()


def test_promise_of_plain_routing_may_be_exceeded_by_cache_aware_routing() -> None:
    for promised, warns in ((0.5, False), (0.7, True)):
        plan = {
            "expert_mode": "paged",
            "promise": {"hit_rate": promised, "trace": "t"},
            "paging": {"cache_margin": 0.1},
            "expert_bytes": 64,
        }
        report = compare_promise(plan, STATISTICS, 0, 1_000_000)
        assert report is not None
        assert bool(report.warning) == warns


def test_promise_does_not_count_uses_in_place_as_hits() -> None:
    plan = {"expert_mode": "paged", "promise": None, "paging": {"cache_margin": 0.0}, "expert_bytes": 64}
    report = compare_promise(plan, STATISTICS, 100, 1_000_000)
    assert report is not None
    assert report.hit_rate == 0.5
    assert compare_promise({"expert_mode": "resident"}, STATISTICS, 0, 1) is None


@pytest.fixture(scope="module")
def planned_build(paged_build: BuildFolder, tmp_path_factory: pytest.TempPathFactory) -> BuildFolder:
    """The same, planned for a trace of its own prompts."""
    folder = tmp_path_factory.mktemp("planned")
    trace, build = folder / "trace.csv", folder / "build"
    with pytest.raises(SystemExit) as stopped:
        main(["trace", str(paged_build.path), "-o", str(trace)])
    assert stopped.value.code == 0
    copy_objects(paged_build, build)
    request = PlanRequest(expert_slots=SLOTS, workload=read_workload(trace))
    source = Path(__file__).resolve().parents[2] / "examples/watch"
    return build_firmware(BuildRequest(source, "host_x86_64", build, "int4", request))


def _validate(build: BuildFolder, capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        main(["validate", str(build.path), "--json", *arguments])
    assert stopped.value.code == 0
    paging: dict[str, object] = json.loads(capsys.readouterr().out)["data"]["paging"]
    return paging


@pytest.mark.gcc
def test_validate_holds_the_board_to_its_plan(
    planned_build: BuildFolder, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    promise = planned_build.plan["promise"]
    assert promise["trace"] == "trace.csv"
    assert 0.3 < promise["hit_rate"] <= promise["bound_hit_rate"]
    paging = _validate(planned_build, capsys, "--steps", "300")
    assert paging["predicted_hit_rate"] == promise["hit_rate"]
    assert paging["warning"] == ""
    other = tmp_path / "other.txt"  # nothing that a watch is asked
    other.write_text("\n".join("zq#%&xw@ 0189 {}[]" * (1 + n % 3) for n in range(12)))
    assert "record a trace" in str(
        _validate(planned_build, capsys, "--steps", "300", "--prompts", str(other))["warning"]
    )
