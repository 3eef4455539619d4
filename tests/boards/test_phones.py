"""Phones: board files whose numbers have sources, plans within a limit, and the bounds that `fit` computes."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from random_model import small_config, write_checkpoint

from mmoe_embed.board import Memory, ReadRate, list_boards, load_board
from mmoe_embed.board_draft import check_board
from mmoe_embed.build import BuildRequest, build_firmware
from mmoe_embed.checkpoint import load_checkpoint
from mmoe_embed.cli.boards import command as boards_command
from mmoe_embed.config import ModelConfig
from mmoe_embed.errors import UsageError
from mmoe_embed.fit import fit_boards
from mmoe_embed.pack import packed_bytes
from mmoe_embed.plan import PlanRequest, plan_model
from mmoe_embed.quantize import quantize_checkpoint
from mmoe_embed.traffic import count_token_bytes
from mmoe_embed.weights import build_weights

PHONES = [name for name in list_boards() if load_board(name).kind == "phone"]
SIZES = {"num_experts": 16, "num_hidden_layers": 3, "hidden_size": 64, "moe_intermediate_size": 48}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("model"), small_config(**SIZES))


def test_four_phones_check_clean() -> None:
    assert len(PHONES) == 4
    for name in PHONES:
        board = load_board(name)
        assert check_board(board) == []
        assert board.runner.default == "executorch"
        assert board.memory_for("experts").kind == "storage"


def test_boards_show_prints_every_rate_with_its_source() -> None:
    shown = CliRunner().invoke(boards_command, ["show", "samsung_galaxy_s25"]).output
    assert "84.8 GB/s, at most" in shown
    assert "random reads of 524288 B: PowerInfer-2" in shown


def test_read_rate_takes_the_largest_block_that_is_not_larger() -> None:
    rates = [
        ReadRate(bytes_per_s=9, source="limit"),
        ReadRate(bytes_per_s=2, block_bytes=4096, pattern="random", source="a"),
        ReadRate(bytes_per_s=6, block_bytes=65536, pattern="sequential", source="b"),
        ReadRate(bytes_per_s=5, block_bytes=65536, pattern="random", source="c"),
    ]
    memory = Memory(name="m", kind="storage", base=0, size=1, access="r", source="s", read=rates)
    found = [rate.bytes_per_s if (rate := memory.read_rate(size)) else None for size in (100, 4096, 65535, 1 << 20)]
    assert found == [9, 2, 2, 5]
    assert Memory(name="m", kind="storage", base=0, size=1, access="r", source="s").read_rate(1) is None


@pytest.mark.parametrize("scheme", ["int8", "int4"])
def test_count_token_bytes_counts_what_is_packed(checkpoint: Path, scheme: str) -> None:
    model = quantize_checkpoint(load_checkpoint(checkpoint), scheme)
    weights, config = build_weights(model), model.config
    rotary = sum(s.size_bytes for s in weights.symbols if s.name.startswith("rotary"))
    moved = count_token_bytes(config, scheme, 0)
    assert moved.dense == sum(s.size_bytes for s in weights.symbols) - rotary
    bits = 4 if scheme == "int4" else 8
    one = packed_bytes(2 * 48, 64, bits) + packed_bytes(64, 48, bits)
    assert moved.experts == 3 * config.num_experts_per_tok * one
    assert count_token_bytes(config, scheme, 10).cache == 3 * 10 * (2 * 16 + 8)


def test_count_token_bytes_of_mobilemoe_s() -> None:
    config = ModelConfig(
        vocab_size=128256, hidden_size=768, num_hidden_layers=20, num_attention_heads=12, num_key_value_heads=4,
        head_dim=64, num_experts=60, num_experts_per_tok=4, moe_intermediate_size=384,
        shared_expert_intermediate_size=1536, max_position_embeddings=2048,
    )  # fmt: skip
    moved = count_token_bytes(config, "int4", 1024)
    assert 170e6 < moved.dense + moved.experts < 200e6  # 174 M active weights of 4.25 bits and a head of 98.5 MB
    assert moved.cache == 20 * 1024 * (2 * 256 + 8 * 4)


def test_plan_of_a_phone_pages_from_storage_within_a_limit(checkpoint: Path) -> None:
    model, board = quantize_checkpoint(load_checkpoint(checkpoint), "int4"), load_board("xiaomi_redmi_note_11")
    whole = plan_model(model, board)
    assert (whole.expert_mode, whole.slots) == ("resident", 48)
    assert "experts" not in {region.use for region in whole.regions}
    spare = whole.sram_used_bytes - 20 * (whole.expert_bytes + 12)
    paged = plan_model(model, board, PlanRequest(sram_bytes=spare))
    assert (paged.expert_mode, paged.storage) == ("paged", "file")
    assert 0 < paged.slots < 48


def test_fit_of_phones_is_bound_by_dram_and_storage(checkpoint: Path) -> None:
    loaded = load_checkpoint(checkpoint)
    by_name = {fit.board: fit for fit in fit_boards(loaded, PHONES, "int4", PlanRequest(expert_slots=8))}
    fit = by_name["xiaomi_redmi_note_11"]
    moved = count_token_bytes(loaded.config, "int4", loaded.config.max_position_embeddings // 2)
    assert fit.reads_per_token == 6
    assert fit.stall_bytes_per_token is not None
    storage_us = fit.stall_bytes_per_token * 1e6 / 1_166_000_000
    assert fit.stall_us_per_token == pytest.approx(storage_us)
    assert fit.most_tokens_per_s == pytest.approx(1e6 / (moved.total * 1e6 / 17_064_000_000 + storage_us), abs=0.1)
    assert by_name["google_pixel_9"].most_tokens_per_s is None  # its DRAM's rate has no source
    assert by_name["apple_iphone_16_pro"].stall_us_per_token is None  # nor has this one's storage
    resident = fit_boards(loaded, ["apple_iphone_16_pro"], "int4", PlanRequest())[0]
    assert resident.most_tokens_per_s is not None


def test_build_for_a_phone_says_what_to_do(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        build_firmware(BuildRequest(checkpoint, "google_pixel_9", tmp_path / "out"))
    assert "export" in caught.value.try_
    assert not (tmp_path / "out").exists()


def test_fit_json_has_the_bound(checkpoint: Path) -> None:
    from mmoe_embed.cli.fit import command

    done = CliRunner().invoke(command, [str(checkpoint), "--board", "samsung_galaxy_s25", "--json"])
    (board,) = json.loads(done.output)["data"]["boards"]
    assert board["most_tokens_per_s"] > 0
