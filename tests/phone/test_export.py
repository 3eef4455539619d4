"""A program of `mmoe-embed export`, run by ExecuTorch, has the golden's bits."""

import functools
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from programs import plan_program
from random_model import CLASSIFIER, OTHER_FAMILIES, small_config, write_checkpoint
from runs import run

from mmoe_embed.build import BuildRequest, build_firmware
from mmoe_embed.checkpoint import load_checkpoint
from mmoe_embed.cli import group
from mmoe_embed.errors import ToolkitError
from mmoe_embed.executorch import export
from mmoe_embed.executorch.export import dense_layers, export_program
from mmoe_embed.executorch.session import Session
from mmoe_embed.golden import Golden
from mmoe_embed.quantize import quantize_checkpoint

pytestmark = [
    pytest.mark.executorch,
    pytest.mark.gcc,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]

MODELS = {
    "moe": {},
    "ragged": {"vocab_size": 301, "hidden_size": 36, "moe_intermediate_size": 20, "qk_norm": True},
    "no_shared": {"shared_expert_intermediate_size": 0, "num_experts_per_tok": 3},
    "dense": {"num_experts": 0, "num_experts_per_tok": 0},
    **OTHER_FAMILIES,
}


CHUNK = 7


@pytest.fixture
def _built(monkeypatch, operators):
    monkeypatch.setattr("mmoe_embed.cli.program.build_operators", lambda folder: operators)


@pytest.mark.parametrize("scheme", ["int8", "int4"])
@pytest.mark.parametrize("name", MODELS)
def test_logits_of_the_program_have_the_goldens_bits(tmp_path, operators, name, scheme):
    checkpoint = load_checkpoint(write_checkpoint(tmp_path / "checkpoint", small_config(**MODELS[name]), seed=3))
    model = quantize_checkpoint(checkpoint, scheme)
    for report in export_program(model, tmp_path / "model.pte", plan_program(model, chunk=CHUNK)).values():
        assert report.size_bytes <= report.greedy_bytes
    session, golden = Session(tmp_path / "model.pte", operators), Golden(model)
    assert session.model_id == model.model_id
    source = np.random.default_rng(1)
    vocabulary, context = model.config.vocab_size, model.config.max_position_embeddings
    for pieces in (
        [1] * context,
        [17, 1, 2, 7, 6, 1, 1, 13],
    ):  # a second sequence in the same cache: both methods write it
        assert sum(pieces) == context
        session.reset()
        golden.reset()
        for piece in pieces:
            tokens = source.integers(0, vocabulary, piece).tolist()
            found, expected = session.prefill(tokens), np.ascontiguousarray(golden.prefill(tokens))
            assert np.array_equal(found.view(np.uint32), expected.view(np.uint32)), piece
    with pytest.raises(ToolkitError, match="context of 48 tokens is full"):
        session.step(0)


def test_tensors_that_begin_off_multiples_of_16_are_refused(tmp_path, operators, monkeypatch):
    checkpoint = load_checkpoint(write_checkpoint(tmp_path / "checkpoint", small_config(num_experts=7)))
    model, file = quantize_checkpoint(checkpoint, "int8"), tmp_path / "model.pte"
    packed = functools.partial(export.ExecutorchBackendConfig, constant_tensor_alignment=4)
    monkeypatch.setattr(export, "ExecutorchBackendConfig", packed)
    export_program(model, file, plan_program(model, chunk=1))
    with pytest.raises(ToolkitError, match=r"multiples of 16 bytes \(MMOE_E_ARGUMENT\)"):
        Session(file, operators).step(1)


def test_the_verb_writes_program_tokenizer_and_generation(tmp_path, operators):
    checkpoint = write_checkpoint(tmp_path / "checkpoint", small_config())
    program = tmp_path / "out" / "model.pte"
    arguments = ["export", str(checkpoint), "--board", "host_x86_64", "-o", str(program), "--json"]
    result = CliRunner().invoke(group, arguments)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["data"]["model_id"] == Session(program, operators).model_id
    for name in ("tokenizer.json", "generation_config.json"):
        assert json.loads((program.parent / name).read_text()) == json.loads((checkpoint / name).read_text())


@pytest.mark.usefixtures("_built")
def test_a_classifier_is_exported_and_validated(tmp_path, operators):
    config = small_config(**CLASSIFIER)
    checkpoint = write_checkpoint(tmp_path / "checkpoint", config, seed=5)
    program = tmp_path / "out" / "model.pte"
    export = ["export", str(checkpoint), "--board", "host_x86_64", "-o", str(program), "--json"]
    result = CliRunner().invoke(group, [*export, "--scheme", "int4", "--expert-slots", "4"])
    assert result.exit_code == 0, result.output
    assert json.loads((program.parent / "config.json").read_text()) == config.to_dict()
    validate = ["validate", str(program), "--runtime", "executorch", "--checkpoint", str(checkpoint), "--json"]
    data = json.loads(CliRunner().invoke(group, [*validate, "--steps", "40"]).stdout)["data"]
    assert data["equal_logits"] == data["steps"] >= 40
    assert data["equal_passes"] == data["passes"]
    assert "has no text" in str(CliRunner().invoke(group, ["run", str(program), "call mum"]).exception)


@pytest.mark.parametrize("chunk", [1, 5])
def test_scores_of_a_classifier_have_the_goldens_bits(tmp_path, operators, chunk):
    """A pass that is taken back or fails leaves what is pooled as it was."""
    model = quantize_checkpoint(
        load_checkpoint(write_checkpoint(tmp_path / "checkpoint", small_config(**CLASSIFIER), seed=4)), "int8"
    )
    export_program(model, tmp_path / "model.pte", plan_program(model, chunk=chunk))
    session, golden = Session(tmp_path / "model.pte", operators), Golden(model)
    source = np.random.default_rng(1)
    for pieces in ((1, 3, 5, 2, 1), (5, 1, 1, 5)):
        session.reset()
        golden.reset()
        for piece in pieces:
            windows = source.standard_normal((piece, model.config.window_size)).astype(np.float32)
            other = -windows[:chunk]
            session.classify(other)
            session.position -= len(other)
            other[-1, 3] = np.inf
            with pytest.raises(ToolkitError, match="too large or NaN"):
                session.classify(other)
            found, expected = session.classify(windows), np.ascontiguousarray(golden.classify(windows))
            assert np.array_equal(found.view(np.uint32), expected.view(np.uint32)), piece
    with pytest.raises(ToolkitError, match="takes windows of 24 numbers"):
        session.classify(windows[:, 1:])
    session.reset()
    with pytest.raises(ToolkitError, match="no such window"):
        session.step(5)


def test_microcontrollers_and_other_files_are_refused(tmp_path):
    checkpoint = write_checkpoint(tmp_path / "checkpoint", small_config())
    for board, output, message in (
        ("qemu_mps3_an547", "model.pte", "is no phone"),
        ("host_x86_64", "model.bin", "is no .pte file"),
    ):
        arguments = ["export", str(checkpoint), "--board", board, "-o", str(tmp_path / output)]
        result = CliRunner().invoke(group, arguments)
        assert message in str(result.exception)


def test_a_missing_program_is_named(tmp_path, operators):
    with pytest.raises(ToolkitError, match="no such program"):
        Session(tmp_path / "absent.pte", operators)


@pytest.mark.parametrize("content", [b"", b"abc", b"\xff\xfe" * 500, bytes(4) + b"TFL3" + bytes(99)])
def test_a_file_that_is_no_program_is_named(tmp_path, operators, content):
    (tmp_path / "junk.pte").write_bytes(content)
    with pytest.raises(ToolkitError, match="no ExecuTorch program"):
        Session(tmp_path / "junk.pte", operators)


@pytest.fixture(scope="module")
def exported(tmp_path_factory, operators):
    folder = tmp_path_factory.mktemp("exported")
    checkpoint = write_checkpoint(folder / "checkpoint", small_config(), seed=5)
    model = quantize_checkpoint(load_checkpoint(checkpoint), "int4")
    export_program(model, folder / "model.pte", plan_program(model, chunk=CHUNK))
    return folder


@pytest.mark.usefixtures("_built")
def test_run_answers_as_the_golden_does(exported):
    result = CliRunner().invoke(group, ["run", str(exported / "model.pte"), "call mum", "--json"])
    assert result.exit_code == 0, result.output
    golden = Golden(quantize_checkpoint(load_checkpoint(exported / "checkpoint"), "int4"))
    (answer,) = json.loads(result.stdout)["data"]["answers"]
    assert answer["answer"] == golden.generate("call mum")


@pytest.mark.parametrize("name", ["tokenizer.json", "generation_config.json"])
@pytest.mark.parametrize(("content", "message"), [(None, "cannot be read"), (b"\xff", "utf-8"), (b"{", "not a ")])
@pytest.mark.usefixtures("_built")
def test_a_damaged_file_beside_the_program_is_named(exported, tmp_path, name, content, message):
    folder = shutil.copytree(exported, tmp_path / "copy")
    (folder / name).unlink() if content is None else (folder / name).write_bytes(content)
    result = CliRunner().invoke(group, ["run", str(folder / "model.pte"), "call mum"])
    assert isinstance(result.exception, ToolkitError)
    assert message in str(result.exception)
    assert result.exception.at == str(folder / name)


@pytest.mark.usefixtures("_built")
def test_validate_compares_every_logit_of_the_program(exported, tmp_path):
    arguments = ["validate", str(exported / "model.pte"), "--runtime", "executorch", "--json"]
    right = ["--checkpoint", str(exported / "checkpoint"), "--steps", "60"]
    result = CliRunner().invoke(group, [*arguments, *right])
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)["data"]
    assert data["equal_logits"] == data["steps"] >= 60
    assert data["equal_passes"] == data["passes"] > 60 / CHUNK
    other = write_checkpoint(tmp_path / "other", small_config(), seed=6)
    refused = CliRunner().invoke(group, [*arguments, "--checkpoint", str(other)])
    assert "gives in no scheme" in str(refused.exception)
    for incomplete in (arguments, ["validate", str(exported / "model.pte")]):
        assert "--checkpoint FOLDER" in str(CliRunner().invoke(group, incomplete).exception.try_)


@pytest.mark.parametrize(("method", "count"), [("step", "equal_logits"), ("prefill", "equal_passes")])
@pytest.mark.usefixtures("_built")
def test_validate_finds_a_logit_that_differs(exported, monkeypatch, method, count):
    take = getattr(Session, method)

    def one_bit_off(self, tokens):
        logits = take(self, tokens)
        logits.view(np.uint32)[7] ^= 1
        return logits

    monkeypatch.setattr(Session, method, one_bit_off)
    arguments = ["validate", str(exported / "model.pte"), "--runtime", "executorch", "--json", "--steps", "1"]
    answer = json.loads(CliRunner().invoke(group, [*arguments, "--checkpoint", str(exported / "checkpoint")]).stdout)
    assert answer["exit_code"] == 6
    assert answer["data"][count] == 0
    assert "logit 7" in answer["data"]["first_difference"]


@pytest.mark.usefixtures("_built")
def test_dense_part_by_xnnpack_is_close_and_says_so(tmp_path, exported):
    """A dense model: no close call of a router makes a small difference large."""
    checkpoint = write_checkpoint(tmp_path / "checkpoint", small_config(hidden_size=64, **MODELS["dense"]), seed=5)
    program = tmp_path / "model.pte"
    export = ["export", "--board", "host_x86_64", "-o", str(program), "--dense", "xnnpack", "--json"]
    export += ["--scheme", "int4"]
    result = CliRunner().invoke(group, [*export, str(checkpoint)])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["data"]["exact"] is False
    validate = ["validate", str(program), "--runtime", "executorch", "--checkpoint", str(checkpoint), "--json"]
    validate += ["--steps", "60"]
    assert "not bit-exact by design" in str(CliRunner().invoke(group, validate).exception)
    result = CliRunner().invoke(group, [*validate, "--tolerance", "1000"])
    data = json.loads(result.stdout)["data"]
    assert data["same_tokens"] > (data["steps"] + data["passes"]) * 0.8
    assert 0 < data["largest_relative"] < 0.2
    strict = CliRunner().invoke(group, [*validate, "--tolerance", "0.0001"])
    assert json.loads(strict.stdout)["exit_code"] == 6
    exact = ["validate", str(exported / "model.pte"), "--runtime", "executorch", "--tolerance", "1", "--json"]
    refused = CliRunner().invoke(group, [*exact, "--checkpoint", str(exported / "checkpoint")])
    assert "is bit-exact" in str(refused.exception)


@pytest.mark.parametrize("scheme", ["int8", "int4"])
def test_dense_layers_hold_the_weights_of_the_model(tmp_path, scheme):
    checkpoint = write_checkpoint(tmp_path / "checkpoint", small_config(hidden_size=64), seed=5)
    model = quantize_checkpoint(load_checkpoint(checkpoint), scheme)
    layers = dense_layers(model)
    assert set(layers) >= {"layers_0_qkv", "layers_0_o"}
    for name, layer in layers.items():
        weights = model.matrices[name.replace("_", ".")].dequantize()
        assert np.array_equal(layer.weight.dequantize().numpy(), weights)


@pytest.mark.slow
def test_speed_of_xnnpack_is_printed(tmp_path):
    checkpoint = write_checkpoint(tmp_path / "checkpoint", small_config(hidden_size=64), seed=5)
    build = build_firmware(BuildRequest(checkpoint, "host_x86_64", tmp_path / "build", "int4"))
    script = Path(__file__).parents[2] / "scripts" / "xnnpack_speed.py"
    small = ["--threads", 1, "--prefill", 4, "--rounds", 1, "--calls", 2, "--json"]
    done = run(sys.executable, script, build.path, *small, timeout_s=600)
    assert done.returncode == 0, done.stderr
    ratios = json.loads(done.stdout.splitlines()[-1])["time_over_ours"]["1"]
    assert set(ratios) == {"head", "layers, prompt", "layers, token"}
    assert all(ratio["fastest"] > 0 for ratio in ratios.values())
