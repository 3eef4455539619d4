"""The contract that everything stands on: the same logits, bit for bit, in the golden and in every compiled runtime."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from random_model import CLASSIFIER, small_config, write_checkpoint
from safetensors.numpy import load_file, save_file

from mmoe_embed.board import load_board
from mmoe_embed.build import BuildRequest, build_firmware
from mmoe_embed.build_folder import BuildFolder
from mmoe_embed.config import ModelConfig
from mmoe_embed.elf import read_sizes
from mmoe_embed.golden import Golden, NumericError
from mmoe_embed.golden_board import load_golden
from mmoe_embed.plan import PlanRequest
from mmoe_embed.quantized import load_quantized
from mmoe_embed.runners import connect_board
from mmoe_embed.serial.client import StatusError
from mmoe_embed.signals import DRAWN_WINDOWS
from mmoe_embed.validate import Comparison, Prompt, compare_steps, prefill_matches

WATCH_SHAPE = {
    "hidden_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_experts": 16,
    "num_experts_per_tok": 4,
    "shared_expert_intermediate_size": 128,
}


def compare(build: BuildFolder, prompts: Sequence[Sequence[int]]) -> Comparison:
    """Feed prompts to the running build and to its golden, token by token, then to the build again in chunks."""
    golden = load_golden(build)
    wanted = [Prompt(tuple(tokens), len(tokens)) for tokens in prompts]
    with connect_board(load_board(build.board), build) as client:
        client.windows = golden.windows
        comparison = compare_steps(client, golden, wanted)
        for tokens, crcs in zip(prompts, comparison.golden_crcs, strict=True):
            for piece in (len(tokens), 1 + sum(tokens) % len(tokens)):
                assert prefill_matches(client, tokens, crcs, piece), f"prefill of {len(tokens)} tokens by {piece}"
        return comparison


def assert_same_bits(comparison: Comparison) -> None:
    """Every step's logits, routes and choice."""
    assert comparison.first_difference is None
    assert comparison.equal_logits == comparison.equal_routes == comparison.equal_argmax == comparison.steps > 0


def random_prompts(config: ModelConfig, steps: int, seed: int = 1) -> list[list[int]]:
    """Prompts of full context length until there are enough steps."""
    random = np.random.default_rng(seed)
    prompts: list[list[int]] = []
    while sum(map(len, prompts)) < steps:
        inputs = DRAWN_WINDOWS if config.is_classifier else config.vocab_size
        prompts.append(random.integers(0, inputs, config.max_position_embeddings).tolist())
    return prompts


@pytest.mark.arm
@pytest.mark.qemu
@pytest.mark.parametrize(
    ("board", "scheme", "slots", "compiler"),
    [
        ("qemu_mps3_an547", "int8", 5, "gcc"),
        ("qemu_mps3_an547", "int4", None, "zig"),
        ("qemu_mps2_an386", "int4", 5, "gcc"),
        ("qemu_mps2_an386", "int8", 0, "zig"),
        ("qemu_netduinoplus2", "int8", None, "gcc"),
        ("qemu_mps2_an500", "int4", 5, "gcc"),
        ("qemu_mps2_an505", "int8", 5, "gcc"),
        ("qemu_mps2_an385", "int4", 5, "gcc"),
    ],
)
def test_emulated_board_gives_the_golden_bits(
    tmp_path: Path, board: str, scheme: str, slots: int | None, compiler: str
) -> None:
    config = small_config(**WATCH_SHAPE)
    checkpoint = write_checkpoint(tmp_path / "model", config)
    request = BuildRequest(checkpoint, board, tmp_path / "build", scheme, PlanRequest(slots), compiler)
    build = build_firmware(request)
    assert_needs_its_plan(build)
    assert_same_bits(compare(build, random_prompts(config, 60)))


def assert_needs_its_plan(build: BuildFolder) -> None:
    """The image takes what the plan says, and the plan counts nothing twice."""
    plan, sizes = build.plan, read_sizes(build.elf)
    planned = {region["use"]: region["size_bytes"] for region in plan["regions"]}
    for what, taken in (("text", sizes.text), ("data", sizes.data)):
        assert taken <= planned[what] < taken + 512, what
    with build.elf.open("rb") as stream:
        writable = [section for section in ELFFile(stream).iter_sections() if section["sh_flags"] & SH_FLAGS.SHF_WRITE]
        sram = sum(section["sh_size"] for section in writable)
    assert sram <= sum(planned.get(use, 0) for use in ("data", "stack", "arena", "kv", "slots"))
    assert plan["sram_used_bytes"] == sum(planned.get(use, 0) for use in ("data", "stack", "arena", "kv", "slots"))


@pytest.mark.gcc
@pytest.mark.parametrize("compiler", ["gcc", "clang", "zig"])
@pytest.mark.parametrize("scheme", ["int8", "int4"])
def test_host_gives_the_golden_bits(tmp_path: Path, scheme: str, compiler: str) -> None:
    config = small_config(**WATCH_SHAPE)
    checkpoint = write_checkpoint(tmp_path / "model", config)
    request = BuildRequest(checkpoint, "host_x86_64", tmp_path / "build", scheme, PlanRequest(5), compiler)
    assert_same_bits(compare(build_firmware(request), random_prompts(config, 60)))


@pytest.mark.gcc
@pytest.mark.parametrize(("gain", "failing"), [(1e6, "none"), (5e8, "some"), (1e11, "all")])
def test_host_fails_where_the_golden_does_when_activations_overflow(tmp_path: Path, gain: float, failing: str) -> None:
    checkpoint = write_checkpoint(tmp_path / "model", small_config())
    weights = load_file(checkpoint / "model.safetensors")
    for name in weights:
        if "gate_proj" in name or "up_proj" in name:  # their product is what overflows
            weights[name] *= np.float32(gain)
    save_file(weights, checkpoint / "model.safetensors")
    build = build_firmware(BuildRequest(checkpoint, "host_x86_64", tmp_path / "build", "int8"))
    golden = Golden(load_quantized(build.quantized))
    failed = 0
    with connect_board(load_board(build.board), build) as client:
        client.reset()
        for token in range(20):
            try:
                expected = golden.step(token)
            except NumericError:
                failed += 1
                with pytest.raises(StatusError, match="MMOE_E_NUMERIC"):
                    client.step(token)
                golden.reset()
                client.reset()
            else:
                client.step(token)
                assert np.array_equal(client.logits().view(np.uint32), expected.view(np.uint32))
    assert {"none": failed == 0, "some": 0 < failed < 20, "all": failed == 20}[failing], failed


@pytest.mark.gcc
@pytest.mark.parametrize(
    "board", ["host_x86_64", pytest.param("qemu_mps3_an547", marks=[pytest.mark.arm, pytest.mark.qemu])]
)
def test_classifier_gives_the_golden_bits(tmp_path: Path, board: str) -> None:
    config = small_config(**WATCH_SHAPE, **CLASSIFIER)
    checkpoint = write_checkpoint(tmp_path / "model", config)
    build = build_firmware(BuildRequest(checkpoint, board, tmp_path / "build", "int4", PlanRequest(5)))
    if board != "host_x86_64":
        assert_needs_its_plan(build)
    assert_same_bits(compare(build, random_prompts(config, 60)))


@pytest.mark.gcc
def test_window_that_overflows_leaves_no_trace_in_what_is_pooled(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "model", small_config(**CLASSIFIER))
    build = build_firmware(BuildRequest(checkpoint, "host_x86_64", tmp_path / "build", "int8"))
    golden = load_golden(build)
    assert golden.windows is not None
    good, bad = golden.windows[:4], np.full((1, golden.config.window_size), 3e38, np.float32)
    with connect_board(load_board(build.board), build) as client:
        client.reset()
        client.classify(good[:3])
        with pytest.raises(StatusError, match="MMOE_E_NUMERIC"):
            client.classify(bad)
        client.classify(good[3:])
        found = client.logits()
    assert np.array_equal(found.view(np.uint32), golden.classify(good).view(np.uint32))
    with pytest.raises(NumericError):
        golden.classify(bad)


@pytest.mark.gcc
@pytest.mark.parametrize("classifier", [True, False])
def test_each_kind_of_model_refuses_the_others_requests(tmp_path: Path, classifier: bool) -> None:
    checkpoint = write_checkpoint(tmp_path / "model", small_config(**CLASSIFIER if classifier else {}))
    build = build_firmware(BuildRequest(checkpoint, "host_x86_64", tmp_path / "build", "int8"))
    with connect_board(load_board(build.board), build) as client:
        requests = [lambda: client.classify(np.zeros((1, 24), np.float32))]
        if classifier:
            requests = [
                lambda: client.step(1),
                lambda: client.prefill([1]),
                lambda: client.encode("a"),
                lambda: client.prompt("a"),
            ]
        for request in requests:
            client.reset()
            with pytest.raises(StatusError, match="MMOE_E_UNSUPPORTED"):
                request()


@pytest.mark.aarch64
def test_aarch64_gives_the_golden_bits(tmp_path: Path) -> None:
    config = small_config(**WATCH_SHAPE)
    checkpoint = write_checkpoint(tmp_path / "model", config)
    request = BuildRequest(checkpoint, "linux_aarch64", tmp_path / "build", "int4", PlanRequest(5))
    assert_same_bits(compare(build_firmware(request), random_prompts(config, 60)))


@st.composite
def _configs(draw: st.DrawFn) -> ModelConfig:
    kv_heads = draw(st.integers(1, 3))
    experts = draw(st.integers(0, 9))
    shared = draw(st.integers(0 if experts else 1, 70))
    half = draw(st.integers(1, 20))
    layers = draw(st.integers(1, 3))
    dense = draw(st.sets(st.integers(0, layers - 1), max_size=layers - 1)) if experts else set()
    window = {"input_channels": draw(st.integers(1, 9)), "input_frames": draw(st.integers(1, 20))}
    kind = CLASSIFIER | window if draw(st.integers(0, 3)) == 0 else {"tie_word_embeddings": draw(st.booleans())}
    return small_config(
        hidden_size=draw(st.integers(1, 70)),
        num_hidden_layers=layers,
        dense_layers=sorted(dense),
        dense_intermediate_size=draw(st.integers(1, 90)) if dense else 0,
        num_key_value_heads=kv_heads,
        num_attention_heads=kv_heads * draw(st.integers(1, 3)),
        head_dim=2 * half,
        num_experts=experts,
        num_experts_per_tok=draw(st.integers(1, experts)) if experts else 0,
        moe_intermediate_size=draw(st.integers(1, 70)) if experts else 0,
        shared_expert_intermediate_size=shared,
        qk_norm=draw(st.booleans()),
        router_score=draw(st.sampled_from(["sigmoid", "softmax"])),
        norm_topk_prob=draw(st.booleans()),
        pre_rotary_norm=draw(st.sampled_from(["none", "head", "width"])),
        attention_bias=draw(st.booleans()),
        shared_expert_gate=shared > 0 and draw(st.booleans()),
        rotary_frequencies=draw(st.sampled_from([[], [0.5 / (i + 1) for i in range(half)]])),
        **kind | {"max_position_embeddings": draw(st.integers(8, 40))},
    )


_random_models = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def _check_random_model(folder: Path, board: str, config: ModelConfig, scheme: str, seed: int, gain: float) -> None:
    checkpoint = write_checkpoint(folder / "model", config, seed=seed, gain=gain)
    slots = min(config.num_experts_per_tok + 1, config.expert_count) or None
    request = BuildRequest(checkpoint, board, folder / "build", scheme, PlanRequest(slots))
    assert_same_bits(compare(build_firmware(request), random_prompts(config, 12, seed)))


@pytest.mark.gcc
@given(_configs(), st.sampled_from(["int8", "int4"]), st.integers(0, 99), st.sampled_from([0.01, 1.0, 30.0]))
@_random_models
def test_random_model_on_host(
    tmp_path_factory: pytest.TempPathFactory, config: ModelConfig, scheme: str, seed: int, gain: float
) -> None:
    _check_random_model(tmp_path_factory.mktemp("random"), "host_x86_64", config, scheme, seed, gain)


@pytest.mark.arm
@pytest.mark.qemu
@given(_configs(), st.sampled_from(["int8", "int4"]), st.integers(0, 99), st.sampled_from(["an547", "an386"]))
@settings(_random_models, max_examples=6)
def test_random_model_on_emulated_boards(
    tmp_path_factory: pytest.TempPathFactory, config: ModelConfig, scheme: str, seed: int, machine: str
) -> None:
    board = {"an547": "qemu_mps3_an547", "an386": "qemu_mps2_an386"}[machine]
    _check_random_model(tmp_path_factory.mktemp("random"), board, config, scheme, seed, 1.0)
