"""Experts of a program paged by the backend MmoePagedExperts: the golden's bits, bounded memory, named damage."""

import dataclasses
import json
import struct

import numpy as np
import pytest
from click.testing import CliRunner
from programs import plan_program
from random_model import OTHER_FAMILIES, small_config, write_checkpoint
from runs import run

from mmoe_embed.checkpoint import load_checkpoint
from mmoe_embed.cli import group
from mmoe_embed.errors import ToolkitError
from mmoe_embed.executorch.export import export_program
from mmoe_embed.executorch.library import build_runner
from mmoe_embed.executorch.paging import pack_plan
from mmoe_embed.executorch.session import Session
from mmoe_embed.experts import expert_page, pack_expert
from mmoe_embed.golden import Golden
from mmoe_embed.quantize import quantize_checkpoint

pytestmark = [
    pytest.mark.executorch,
    pytest.mark.gcc,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]
CHUNK = 5
MODELS = {"moe": {}, **{name: config for name, config in OTHER_FAMILIES.items() if "dense_layers" in config}}


def quantize(folder, seed=3, **changes):
    checkpoint = write_checkpoint(folder, small_config(**changes), seed=seed)
    return quantize_checkpoint(load_checkpoint(checkpoint), "int4")


def check_bits(session, golden, seed=1):
    source = np.random.default_rng(seed)
    session.reset()
    golden.reset()
    for count in (1, 5, 5, 1, 3, 1, 1, 1, 17):
        tokens = source.integers(0, golden.config.vocab_size, count).tolist()
        found, expected = session.prefill(tokens), np.ascontiguousarray(golden.prefill(tokens))
        assert np.array_equal(found.view(np.uint32), expected.view(np.uint32)), count


@pytest.mark.parametrize("name", MODELS)
def test_every_number_of_slots_has_the_goldens_bits(tmp_path, operators, name):
    model = quantize(tmp_path / "checkpoint", **MODELS[name])
    golden, count, file = Golden(model), model.config.expert_count, tmp_path / "model.pte"
    for slots in sorted({3, 4, count - 1}):
        export_program(model, file, plan_program(model, CHUNK, slots), beside=slots == 4)
        assert file.with_suffix(".ptd").exists() == (slots == 4)
        session = Session(file, operators)
        check_bits(session, golden)
        paging = session.count_paging()
        assert paging.misses > 0
        assert paging.bytes_loaded == paging.misses * expert_page(model).size_bytes
        del session


@pytest.mark.parametrize("policy", ["lru", "lfu"])
def test_residents_and_slots_of_layers_are_kept_to(tmp_path, operators, policy):
    model = quantize(tmp_path / "checkpoint")
    plan = plan_program(model, CHUNK, 8, policy)
    plan = dataclasses.replace(plan, paging=dataclasses.replace(plan.paging, residents=(1, 7), layer_slots=(4, 4)))
    export_program(model, tmp_path / "model.pte", plan)
    session, golden = Session(tmp_path / "model.pte", operators), Golden(model)
    check_bits(session, golden)
    misses = session.count_paging().misses
    check_bits(session, golden)
    assert session.count_paging().misses < 2 * misses  # the residents are not read again


@pytest.mark.parametrize("name", MODELS)
def test_guessed_experts_change_no_bit(tmp_path, operators, name):
    model, file = quantize(tmp_path / "checkpoint", **MODELS[name]), tmp_path / "model.pte"
    export_program(model, file, plan_program(model, CHUNK, 6, prefetch=2))
    session = Session(file, operators)
    for seed in (1, 2):
        check_bits(session, Golden(model), seed)
    paging, page = session.count_paging(), expert_page(model).size_bytes
    if len(model.config.routed_layers) > 1:
        assert paging.prefetched > 0
    assert paging.misses * page <= paging.bytes_loaded <= (paging.misses + paging.prefetched) * page


def test_one_paged_program_at_a_time(tmp_path, operators):
    for seed in (3, 4):
        model = quantize(tmp_path / f"checkpoint{seed}", seed=seed)
        export_program(model, tmp_path / f"{seed}" / "model.pte", plan_program(model, CHUNK, 3))
    first = Session(tmp_path / "3" / "model.pte", operators)
    with pytest.raises(ToolkitError, match="only one at a time in a process") as refused:
        Session(tmp_path / "4" / "model.pte", operators)
    assert "another process" in refused.value.try_
    del first
    Session(tmp_path / "4" / "model.pte", operators).step(1)


@pytest.mark.parametrize("beside", [False, True])
def test_damage_is_named_and_no_token_comes(tmp_path, operators, beside):
    model = quantize(tmp_path / "checkpoint")
    file = tmp_path / "model.pte"
    export_program(model, file, plan_program(model, CHUNK, 3), beside=beside)
    holder = file.with_suffix(".ptd") if beside else file
    whole = holder.read_bytes()
    damaged = bytearray(whole)
    for expert in range(model.config.num_experts):  # of the first layer, one bit each
        page, _ = pack_expert(model, 0, expert)
        assert whole.count(page) == 1
        damaged[whole.index(page) + 100] ^= 4
    holder.write_bytes(damaged)
    session = Session(file, operators)
    for tokens in ([5], [5, 6, 7]):
        with pytest.raises(ToolkitError, match="does not match its CRC-32"):
            session.prefill(tokens)
    assert session.position == 0
    del session
    holder.write_bytes(whole[: whole.index(page)])
    with pytest.raises(ToolkitError, match=r"damaged or cut short|could not be read") as cut:
        Session(file, operators).prefill([5, 6, 7])
    assert str(file) in cut.value.at
    if beside:
        holder.unlink()
        with pytest.raises(ToolkitError, match="could not be read"):
            Session(file, operators)


def test_damaged_plan_is_refused(tmp_path, operators):
    """First slots of layers that lie behind the last slot would be written to."""
    model, file = quantize(tmp_path / "checkpoint"), tmp_path / "model.pte"
    plan = plan_program(model, CHUNK, 8)
    plan = dataclasses.replace(plan, paging=dataclasses.replace(plan.paging, layer_slots=(4, 4)))
    export_program(model, file, plan)
    whole, packed, first_slots = file.read_bytes(), pack_plan(model, plan), struct.pack("<3H", 0, 4, 8)
    assert whole.count(packed) == 1
    assert packed.count(first_slots) == 1
    file.write_bytes(whole.replace(packed, packed.replace(first_slots, struct.pack("<3H", 0, 4, 9999))))
    with pytest.raises(ToolkitError, match="paging plan in the program is damaged"):
        Session(file, operators)
    file.write_bytes(whole)
    Session(file, operators).step(1)


def test_the_verb_pages_by_its_plan(tmp_path, operators, monkeypatch):
    monkeypatch.setattr("mmoe_embed.cli.program.build_operators", lambda folder: operators)
    checkpoint = write_checkpoint(tmp_path / "checkpoint", small_config(), seed=3)
    program = tmp_path / "model.pte"
    export = ["export", str(checkpoint), "--board", "google_pixel_9", "-o", str(program), "--json"]
    result = CliRunner().invoke(group, [*export, "--expert-slots", "4", "--ptd"])
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)["data"]
    assert (data["paged"], data["slots"], data["policy"]) == (True, 4, "wait")
    validate = ["validate", str(program), "--runtime", "executorch", "--checkpoint", str(checkpoint), "--json"]
    result = CliRunner().invoke(group, [*validate, "--steps", "30"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["data"]["equal_logits"] >= 30
    for more, message in (
        (["--ptd"], "this plan pages none"),
        (["--expert-slots", "2"], "2 expert slots are too few"),
        (["--cache-aware", "0.1"], "is not for programs yet"),
    ):
        assert message in str(CliRunner().invoke(group, [*export, *more]).exception)


def take_pieces(session):
    source = np.random.default_rng(2)
    session.reset()
    return [session.prefill(source.integers(0, 300, count).tolist()) for count in (1, 5, 1, 1, 3)]


@pytest.mark.slow
def test_xnnpack_computes_the_dense_part_beside_paged_experts(tmp_path, operators):
    """A second backend takes no weight and no scale from XNNPACK's products: they are those of experts in place."""
    model = quantize(tmp_path / "checkpoint", hidden_size=64, num_hidden_layers=1)
    logits = []
    for slots in (None, 4):
        file = tmp_path / f"{slots}.pte"
        export_program(model, file, plan_program(model, CHUNK, slots), beside=slots == 4, xnnpack=True)
        session = Session(file, operators)
        logits.append(take_pieces(session))
    assert session.count_paging().misses > 0
    assert not session.exact
    assert np.array_equal(np.array(logits[0]).view(np.uint32), np.array(logits[1]).view(np.uint32))
    expected = np.array(take_pieces(Golden(model)))
    assert 0 < np.abs(np.array(logits[0]) - expected).max() < 0.2 * np.abs(expected).max()


def test_memory_is_that_of_the_slots(tmp_path):
    """10.3 MB of experts: a program that reads them whole holds them all, one with three slots does not."""
    sizes = {"hidden_size": 256, "moe_intermediate_size": 384, "num_experts": 32, "num_hidden_layers": 2}
    model = quantize(tmp_path / "checkpoint", **sizes)
    page = expert_page(model).size_bytes
    prompt = [5, 299, 17, 4, 250, 33, 8, 101]
    runner, peak, printed = build_runner(tmp_path / "runner"), {}, {}
    for name, slots, beside in (("whole", None, False), ("inside", 3, False), ("beside", 3, True)):
        file = tmp_path / name / "model.pte"
        export_program(model, file, plan_program(model, CHUNK, slots), beside=beside)
        command = [runner, file, *(["--data", file.with_suffix(".ptd")] if beside else []), "--logits", "--count", 8]
        done = run(*command, *prompt)
        assert done.returncode == 0, done.stderr
        *printed[name], last = done.stdout.splitlines()
        peak[name] = int(last.split()[2])
        print(f"{name}: peak resident {peak[name]} B, experts {64 * page} B")
    assert printed["inside"] == printed["beside"] == printed["whole"]
    for name in ("inside", "beside"):
        assert peak["whole"] - peak[name] > (64 - 3 - 8) * page  # a page on its way, and what an allocator keeps
    alone = run(runner, file, 5)
    assert (alone.returncode, "try: --data FILE.ptd" in alone.stderr) == (1, True)  # the experts lie beside
