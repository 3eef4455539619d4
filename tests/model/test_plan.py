"""Plans against boards: what fits, what does not and by how much."""

import dataclasses
import json
from pathlib import Path

import msgspec
import pytest
from random_model import small_config, write_checkpoint

from mmoe_embed.arena import arena_problem
from mmoe_embed.board import load_board
from mmoe_embed.checkpoint import Checkpoint, load_checkpoint
from mmoe_embed.errors import FitError, UsageError
from mmoe_embed.plan import CHUNKS, DRAM_CHUNKS, SLOT_STATE_BYTES, PlanRequest, choose_scheme, plan_model
from mmoe_embed.quantize import quantize_checkpoint

WATCH = {
    "vocab_size": 512,
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_experts": 16,
    "num_experts_per_tok": 4,
    "shared_expert_intermediate_size": 128,
    "max_position_embeddings": 128,
}


@pytest.fixture(scope="module")
def watch(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return load_checkpoint(write_checkpoint(tmp_path_factory.mktemp("watch"), small_config(**WATCH)))


def test_plan_pages_where_experts_do_not_fit(watch: Checkpoint) -> None:
    plan = plan_model(quantize_checkpoint(watch, "int8"), load_board("qemu_netduinoplus2"))
    assert plan.expert_mode == "paged"
    assert 5 <= plan.slots < 64
    assert plan.arena_proven
    used = sum(r.size_bytes for r in plan.regions if r.memory == "sram")
    assert used <= 192 * 1024
    assert used + plan.expert_bytes + SLOT_STATE_BYTES > 192 * 1024  # not one slot more


def test_plan_regions_do_not_exceed_any_memory(watch: Checkpoint) -> None:
    for name in ("host_x86_64", "qemu_mps3_an547", "qemu_mps2_an386", "qemu_netduinoplus2"):
        board = load_board(name)
        plan = plan_model(quantize_checkpoint(watch, "int4"), board)
        for memory in board.memory:
            assert sum(r.size_bytes for r in plan.regions if r.memory == memory.name) <= memory.usable_bytes


def test_arena_buffers_alive_together_do_not_overlap(watch: Checkpoint) -> None:
    plan = plan_model(quantize_checkpoint(watch, "int8"), load_board("host_x86_64"))
    for index, a in enumerate(plan.arena):
        assert a.offset + a.size_bytes <= plan.arena_bytes
        for b in plan.arena[:index]:
            if a.first_op <= b.last_op and b.first_op <= a.last_op:
                assert a.offset + a.size_bytes <= b.offset or b.offset + b.size_bytes <= a.offset, (a.name, b.name)


def test_plan_says_by_how_much_it_does_not_fit(watch: Checkpoint) -> None:
    model = quantize_checkpoint(watch, "int8")
    with pytest.raises(
        FitError, match=r"does not fit 32768 B of SRAM: needs \d+ B without any expert \(\d+ B over\)"
    ) as failure:
        plan_model(model, load_board("qemu_mps2_an386"), PlanRequest(sram_bytes=32768))
    assert failure.value.try_.startswith("--sram ")
    with pytest.raises(FitError, match=r"expert slots do not fit qemu_mps2_an386: 64 need"):
        plan_model(model, load_board("qemu_mps2_an386"), PlanRequest(expert_slots=64))
    with pytest.raises(UsageError, match="2 expert slots are too few"):
        plan_model(model, load_board("qemu_mps2_an386"), PlanRequest(expert_slots=2))


def test_plan_of_an_image_beyond_32_bits(watch: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmoe_embed.plan.MAX_IMAGE_BYTES", 100_000)
    with pytest.raises(FitError, match=r"the expert image is \d+ B, its 32-bit offsets reach 100000 B \(\d+ B over\)"):
        plan_model(quantize_checkpoint(watch, "int8"), load_board("host_x86_64"), PlanRequest(storage="file"))


def test_plan_counts_the_state_of_slots(watch: Checkpoint) -> None:
    model, board = quantize_checkpoint(watch, "int8"), load_board("qemu_mps2_an386")
    few, more = (plan_model(model, board, PlanRequest(expert_slots=slots, chunk=1)) for slots in (5, 9))
    assert more.sram_used_bytes - few.sram_used_bytes == 4 * (few.expert_bytes + SLOT_STATE_BYTES)
    data = [next(r.size_bytes for r in plan.regions if r.use == "data") for plan in (few, more)]
    assert data[1] - data[0] == 4 * SLOT_STATE_BYTES


def test_plan_advises_sram_only_where_it_was_limited(watch: Checkpoint) -> None:
    model, board = quantize_checkpoint(watch, "int8"), load_board("qemu_mps2_an386")
    limited = PlanRequest(expert_slots=5, sram_bytes=plan_model(model, board, PlanRequest(0, chunk=1)).sram_used_bytes)
    with pytest.raises(FitError) as failure:
        plan_model(model, board, limited)
    advised = int(failure.value.try_.removeprefix("--sram "))
    assert plan_model(model, board, dataclasses.replace(limited, sram_bytes=advised)).slots == 5
    with pytest.raises(FitError):
        plan_model(model, board, dataclasses.replace(limited, sram_bytes=advised - 1))
    tight = [msgspec.structs.replace(m, size=70_000) if "slots" in m.use else m for m in board.memory]
    with pytest.raises(FitError) as failure:
        plan_model(model, msgspec.structs.replace(board, memory=tight), PlanRequest(expert_slots=30, chunk=1))
    assert "--sram" not in failure.value.try_


def test_plan_notes_a_cache_below_one_cycle(watch: Checkpoint) -> None:
    plan = plan_model(
        quantize_checkpoint(watch, "int8"), load_board("qemu_mps2_an386"), PlanRequest(expert_slots=8, policy="lru")
    )
    assert any("fewer than the 16 experts one token uses" in note and "wait" in note for note in plan.notes)


def test_choose_scheme_takes_int4_where_int8_does_not_fit(tmp_path: Path) -> None:
    large = load_checkpoint(write_checkpoint(tmp_path, small_config(**(WATCH | {"num_experts": 40}))))
    model, plan = choose_scheme(large, load_board("qemu_netduinoplus2"), "auto", PlanRequest())
    assert model.scheme == plan.scheme == "int4"
    with pytest.raises(FitError, match="experts does not fit qemu_netduinoplus2"):
        choose_scheme(large, load_board("qemu_netduinoplus2"), "int8", PlanRequest())


def test_plan_json_is_the_plan(watch: Checkpoint) -> None:
    plan = plan_model(quantize_checkpoint(watch, "int4"), load_board("qemu_mps3_an547"))
    data = json.loads(plan.to_json())
    assert data["arena_bytes"] == plan.arena_bytes
    assert len(data["arena"]) == len(plan.arena)


def test_chunk_costs_no_slots_that_matter(watch: Checkpoint) -> None:
    model = quantize_checkpoint(watch, "int8")
    plans = [
        plan_model(model, load_board("qemu_mps3_an547"), PlanRequest(sram_bytes=kilobytes << 10))
        for kilobytes in (72, 128, 192, 256, 512, 1024)
    ]
    for plan in plans:
        board = load_board("qemu_mps3_an547")
        single = plan_model(model, board, PlanRequest(sram_bytes=plan.sram_used_bytes + plan.sram_free_bytes, chunk=1))
        assert plan.expert_mode == single.expert_mode
        assert 10 * (single.slots - plan.slots) <= single.slots
        assert plan.sram_used_bytes - single.sram_used_bytes <= single.sram_free_bytes or plan.slots < single.slots
    assert plans[-1].chunk == 32


def test_chunk_is_larger_where_ram_is_dram(watch: Checkpoint) -> None:
    model = quantize_checkpoint(watch, "int8")
    plan = plan_model(model, load_board("host_x86_64"))
    assert plan.chunk == max(chunk for chunk in DRAM_CHUNKS if chunk <= model.config.max_position_embeddings)
    assert plan.chunk > CHUNKS[0]


def test_chunk_is_one_where_nothing_is_left(watch: Checkpoint) -> None:
    model, board = quantize_checkpoint(watch, "int8"), load_board("qemu_mps3_an547")
    used = plan_model(model, board, PlanRequest(expert_slots=0, chunk=1)).sram_used_bytes
    assert plan_model(model, board, PlanRequest(expert_slots=0, sram_bytes=used)).chunk == 1


def test_chunk_that_is_asked_for_is_taken_or_refused(watch: Checkpoint) -> None:
    model, board = quantize_checkpoint(watch, "int8"), load_board("qemu_mps2_an386")
    assert plan_model(model, board, PlanRequest(chunk=100)).chunk == 100
    with pytest.raises(FitError, match="the model does not fit"):
        plan_model(model, board, PlanRequest(chunk=100, sram_bytes=100_000))


def test_arena_problem_has_one_tick_per_operation(watch: Checkpoint) -> None:
    from mmoe_embed.graph import build_graph  # noqa: PLC0415

    graph = build_graph(watch.config)
    problem = arena_problem(graph)
    assert max(buffer.upper for buffer in problem.buffers) == len(graph.ops) + 1
