"""What a phone-sized model needs of the C runtime, at small sizes: tokens of 32 bits, products split between threads."""

import contextlib
import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from random_model import small_config, write_checkpoint
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from mmoe_embed.bench.memory_limit import limit_memory
from mmoe_embed.bench.phone import Request, measure_builds, render, with_threads
from mmoe_embed.bench.random_models import byte_tokenizer, write_random_checkpoint
from mmoe_embed.board import load_board
from mmoe_embed.build import BuildRequest, build_firmware
from mmoe_embed.build_folder import BuildFolder
from mmoe_embed.checkpoint import load_checkpoint
from mmoe_embed.config import ModelConfig
from mmoe_embed.emit import emit_model
from mmoe_embed.errors import ToolkitError, UsageError
from mmoe_embed.golden import Golden
from mmoe_embed.plan import PlanRequest, plan_model
from mmoe_embed.quantize import quantize_checkpoint
from mmoe_embed.quantized import load_quantized
from mmoe_embed.runners import connect_board
from mmoe_embed.tokens import build_tables
from mmoe_embed.traffic import count_token_bytes

SCRIPTS = Path(__file__).parents[2] / "scripts"
# gate_up and down of an expert, the head and attention are large enough to be split; neither tiles nor key/value heads
# divide by the threads
WIDE = small_config(
    vocab_size=66_001,
    hidden_size=256,
    num_attention_heads=6,
    num_key_value_heads=3,
    head_dim=48,
    moe_intermediate_size=72,
    shared_expert_intermediate_size=132,
    num_experts=8,
)


def write_wide_tokenizer(folder: Path) -> None:
    """All bytes and all pairs of bytes: 65,792 tokens, 65,536 merges."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: number for number, letter in enumerate(letters)}
    merges = [(left, right) for left in letters for right in letters]
    for left, right in merges:
        vocabulary[left + right] = len(vocabulary)
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(" ", "merged_with_next"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    (folder / "tokenizer.json").write_text(str(tokenizer.to_str()))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_checkpoint(tmp_path_factory.mktemp("wide"), WIDE)
    write_wide_tokenizer(folder)
    frame = json.loads((folder / "generation_config.json").read_text())
    frame |= {"prefix_tokens": [65_900], "suffix_tokens": [66_000], "stop_token": 66_000}
    (folder / "generation_config.json").write_text(json.dumps(frame))
    return folder


def check_against_golden(build: BuildFolder, threads: int, config: ModelConfig, steps: int) -> None:
    golden, random = Golden(load_quantized(build.quantized)), np.random.default_rng(threads)
    prompt = random.integers(0, config.vocab_size, 11).tolist()
    with connect_board(with_threads(load_board(build.board), threads), build) as client:
        client.reset()
        expected = golden.prefill(prompt)
        client.prefill(prompt)
        for token in [*random.integers(0, config.vocab_size, steps).tolist(), 65_535]:
            assert np.array_equal(client.logits().view(np.uint32), expected.view(np.uint32))
            expected = golden.step(token)
            client.step(token)
        assert np.array_equal(client.logits().view(np.uint32), expected.view(np.uint32))


@pytest.fixture(scope="module")
def build(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> BuildFolder:
    output = tmp_path_factory.mktemp("host") / "paged"
    return build_firmware(BuildRequest(checkpoint, "host_x86_64", output, "int4", PlanRequest(5, storage="file")))


@pytest.mark.gcc
def test_wide_vocabulary_encodes_and_threads_keep_every_bit(build: BuildFolder) -> None:
    assert build.plan["wide_tokens"]
    golden = Golden(load_quantized(build.quantized))
    with connect_board(load_board(build.board), build) as client:
        for text in ("call mum", "naïve \xff text", "aía", ""):
            assert client.encode(text) == golden.encode(text)
        assert max(client.encode("aía")) > 65_535
        count = client.prompt("call")
        assert count == len(golden.prompt_tokens("call"))
        expected = golden.prefill(golden.prompt_tokens("call"))
        assert client.next_token().token == int(np.argmax(expected))
    for threads in (1, 2, 3, 4):
        check_against_golden(build, threads, WIDE, steps=3)


@pytest.mark.gcc
def test_bench_phone_measures_builds_in_turn(build: BuildFolder) -> None:
    request = Request(prefill=12, contexts=(12, 20), decoded=3, rounds=2)
    bench = measure_builds([build, build], request)
    assert bench.stream_bytes_per_s > 1e8
    for speed in bench.builds:
        assert (speed.expert_mode, speed.slots) == ("paged", 5)
        assert 0 < speed.prefill.fastest_ns <= speed.prefill.median_ns
        for context, decode in zip(request.contexts, speed.decode, strict=True):
            assert decode.token_bytes == count_token_bytes(WIDE, "int4", context).total
            assert decode.bandwidth_ratio == pytest.approx(
                decode.token_bytes * 1e9 / decode.speed.fastest_ns / bench.stream_bytes_per_s
            )
            assert decode.hit_rate is not None
            assert 0 <= decode.hit_rate < 1
    first, second = (speed.decode[1].speed for speed in bench.builds)
    assert (first.ratio, first.median_ratio) == (1, 1)
    assert second.ratio == pytest.approx(first.fastest_ns / second.fastest_ns)
    assert "paged, 5 slots" in render(bench)
    with pytest.raises(UsageError, match="a context of 48"):
        measure_builds([build], Request())


def test_limit_memory_ends_a_program_that_takes_more() -> None:
    take = [sys.executable, "-c", "import sys; taken = bytearray(int(sys.argv[1])); print(len(taken))"]
    with contextlib.ExitStack() as stack:
        try:
            prefix = stack.enter_context(limit_memory(64 << 20))
        except ToolkitError as error:
            pytest.skip(f"no cgroup can be made here: {error}")
        small = subprocess.run([*prefix, *take, str(1 << 20)], capture_output=True, text=True, check=False, timeout=300)
        large = subprocess.run(
            [*prefix, *take, str(256 << 20)], capture_output=True, text=True, check=False, timeout=300
        )
    assert small.stdout.strip() == str(1 << 20)
    assert large.returncode != 0


@pytest.mark.aarch64
def test_threads_keep_every_bit_on_aarch64(checkpoint: Path, tmp_path: Path) -> None:
    request = BuildRequest(checkpoint, "linux_aarch64", tmp_path / "build", "int4", PlanRequest(5))
    check_against_golden(build_firmware(request), 2, WIDE, steps=2)


def test_narrow_vocabulary_keeps_its_tables(tmp_path: Path) -> None:
    model = quantize_checkpoint(load_checkpoint(write_checkpoint(tmp_path, small_config())), "int8")
    plan = plan_model(model, load_board("host_x86_64"))
    assert not plan.wide_tokens
    assert b"sizeof(mmoe_token)" not in emit_model(model, plan).files["tokens.c"]
    assert plan.weights_bytes == len(emit_model(model, plan).files["weights.bin"])


def test_zipf_biases_a_router(tmp_path: Path) -> None:
    config = small_config(hidden_size=256, num_experts=16, num_experts_per_tok=2)
    checkpoint = load_checkpoint(write_random_checkpoint(tmp_path, config, zipf=0.9))
    golden, used = Golden(quantize_checkpoint(checkpoint, "int8")), np.zeros((config.num_hidden_layers, 16))
    for token in np.random.default_rng(1).integers(0, config.vocab_size, 200):
        golden.reset()
        golden.step(int(token))
        for layer, experts in enumerate(golden.routes):
            used[layer, experts] += 1
    wanted = 1 / np.arange(1, 17) ** 0.9
    share = -np.sort(-used, axis=1) / used.sum(axis=1, keepdims=True)
    assert np.abs(share - wanted / wanted.sum()).max() < 0.08
    assert len({tuple(np.argsort(-layer)) for layer in used}) == len(used)  # each layer has favourites of its own


def test_sweep_of_limits(tmp_path: Path) -> None:
    config = small_config(hidden_size=256, moe_intermediate_size=512, num_experts=16, vocab_size=512)
    checkpoint = write_random_checkpoint(tmp_path / "model", config)
    command = [sys.executable, str(SCRIPTS / "phone_sweep.py"), str(checkpoint), str(tmp_path / "builds")]
    small = ["--percent", "300", "--prefill", "8", "--context", "8", "--tokens", "2", "--json"]
    done = subprocess.run([*command, *small], capture_output=True, text=True, check=False, timeout=300)
    if "no limit of memory can be set" in done.stderr:
        pytest.skip("no cgroup can be made here")
    assert done.returncode == 0, done.stderr
    (point,) = json.loads(done.stdout)
    paged, mapped = point["bench"]["builds"]
    assert point["percent"] == 300
    assert (mapped["expert_mode"], mapped["slots"]) == ("in place", 0)
    assert paged["slots"] == 16 * config.num_hidden_layers
    assert 0 < paged["decode"][0]["hit_rate"] <= 1


def test_peers_are_compared_by_their_fastest_round() -> None:
    sys.path.insert(0, str(SCRIPTS))
    try:
        phone_peers = importlib.import_module("phone_peers")
    finally:
        sys.path.remove(str(SCRIPTS))
    rounds = [
        {"ours": {"prefill": 2.0, "MoE decode": 3.0}, "theirs": {"prefill": 8.0}, "layer": {"MoE decode": 6.0}},
        {"ours": {"prefill": 4.0, "MoE decode": 3.0}, "theirs": {"prefill": 9.0}, "layer": {"MoE decode": 9.0}},
    ]
    table = phone_peers.render(phone_peers.compare(rounds), len(rounds), {"theirs": "1.0"}, Request())
    ours, theirs, layer, version = table.splitlines()[-4:]
    assert ours.split()[1:] == ["1.00", "(1.00)", "1.00", "(1.00)"]
    assert theirs.split()[1:] == ["4.00", "(2.83)"]
    assert layer.split()[1:] == ["2.00", "(2.50)"]
    assert version == "theirs: 1.0"


def test_random_checkpoint_is_a_checkpoint(tmp_path: Path) -> None:
    config = small_config(attention_bias=True)
    loaded = load_checkpoint(write_random_checkpoint(tmp_path / "a", config))
    again = load_checkpoint(write_random_checkpoint(tmp_path / "b", config))
    assert loaded.sha256 == again.sha256
    assert build_tables(byte_tokenizer(), config.vocab_size).merges == ()
    weights = np.abs(loaded.tensors["layers.0.attn.o_proj.weight"])
    assert 0.5 < weights.min() * np.sqrt(32) < weights.max() * np.sqrt(32) < 3
    assert (loaded.tensors["norm.weight"] == 1).all()
