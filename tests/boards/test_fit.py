"""`fit`: yes or no for every board, with numbers that can be done by hand, and never an exception."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from random_model import small_config, write_checkpoint

from mmoe_embed import instructions
from mmoe_embed.board import list_boards, load_board
from mmoe_embed.checkpoint import load_checkpoint
from mmoe_embed.cli.fit import command
from mmoe_embed.fit import fit_boards
from mmoe_embed.instructions import count_instructions, list_calls
from mmoe_embed.plan import PlanRequest, plan_model
from mmoe_embed.quantize import quantize_checkpoint
from mmoe_embed.resources import boards_dir


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("model"), small_config())


def test_fit_boards_answers_for_every_board(checkpoint: Path) -> None:
    fits = fit_boards(load_checkpoint(checkpoint), list_boards(), "auto", PlanRequest())
    assert [fit.board for fit in fits] == list_boards()
    by_name = {fit.board: fit for fit in fits}
    assert by_name["st_nucleo_f446re"].fits
    for fit in fits:
        if fit.fits:
            assert fit.margin_bytes is not None
            assert fit.margin_bytes >= 0
        else:
            assert "over" in fit.reason
            assert fit.margin_bytes is not None
            assert fit.margin_bytes < 0


def test_fit_boards_agrees_with_the_plan(checkpoint: Path) -> None:
    model = quantize_checkpoint(load_checkpoint(checkpoint), "int8")
    plan = plan_model(model, load_board("qemu_mps2_an386"))
    (fit,) = fit_boards(load_checkpoint(checkpoint), ["qemu_mps2_an386"], "auto", PlanRequest())
    assert (fit.margin_bytes, fit.slots, fit.expert_mode) == (plan.sram_free_bytes, plan.slots, plan.expert_mode)


def test_fit_boards_takes_int4_where_int8_is_too_large(tmp_path: Path) -> None:
    large = write_checkpoint(tmp_path / "m", small_config(num_experts=80, hidden_size=64, moe_intermediate_size=32))
    text = (boards_dir() / "st_nucleo_f446re.toml").read_text().replace('"st_nucleo_f446re"\nt', '"tight"\nt')
    (tmp_path / "tight.toml").write_text(text.replace("size = 0x0008_0000", "size = 0x000E_0000"))
    (fit,) = fit_boards(load_checkpoint(large), [str(tmp_path / "tight.toml")], "auto", PlanRequest())
    assert fit.scheme == "int4"


def test_fit_boards_survives_a_bad_board(checkpoint: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text('schema = 1\nname = "bad"\n')
    fits = fit_boards(
        load_checkpoint(checkpoint), [str(bad), "no_such_board", "qemu_mps2_an386"], "auto", PlanRequest()
    )
    assert [fit.fits for fit in fits] == [False, False, True]
    assert "missing" in fits[0].reason
    assert "bad.toml" in fits[0].reason
    assert "unknown board" in fits[1].reason


def test_list_calls_counts_the_macs_of_the_shape(checkpoint: Path) -> None:
    config = small_config()
    model = quantize_checkpoint(load_checkpoint(checkpoint), "int8")
    products = [p for p in list_calls(model) if p.kernel == "mmoe_matvec_s8"]
    macs = sum(p.rows * p.columns * p.times for p in products)
    width = config.num_experts_per_tok * config.moe_intermediate_size + config.shared_expert_intermediate_size
    layer = (config.qkv_rows + config.attention_width) * config.hidden_size + 3 * width * config.hidden_size
    assert macs == config.num_hidden_layers * layer + config.vocab_size * config.hidden_size


def test_count_instructions_follows_the_core(checkpoint: Path) -> None:
    model = quantize_checkpoint(load_checkpoint(checkpoint), "int8")
    counts = {}
    for name in ("qemu_mps2_an385", "st_nucleo_f446re", "st_stm32n6570_dk"):
        counted = count_instructions(load_board(name), model)
        assert counted is not None
        counts[counted.machine] = counted.total
        layers, head = model.config.num_hidden_layers, counted.head
        own = counted.layer + counted.shared + model.config.num_experts_per_tok * counted.expert
        assert counted.total == pytest.approx(layers * own + head)
        assert min(counted.layer, counted.shared, counted.expert, head, counted.checksum) > 0
    assert counts["qemu_mps2_an385"] > counts["qemu_mps2_an386"] > counts["qemu_mps3_an547"] > 0
    assert count_instructions(load_board("host_x86_64"), model) is None


def test_count_instructions_without_counts_is_unknown(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instructions, "kernels_dir", lambda: tmp_path)
    instructions._load_counts.cache_clear()
    model = quantize_checkpoint(load_checkpoint(checkpoint), "int8")
    assert count_instructions(load_board("st_nucleo_f446re"), model) is None
    instructions._load_counts.cache_clear()


def test_stall_is_misses_times_page_over_bandwidth(checkpoint: Path, tmp_path: Path) -> None:
    text = (boards_dir() / "st_nucleo_f446re.toml").read_text().replace('"st_nucleo_f446re"\nt', '"slow"\nt')
    text = text.replace('name = "flash"\n', 'name = "flash"\nread_bytes_per_cycle = 0.5\nread_latency_cycles = 10\n')
    (tmp_path / "slow.toml").write_text(text)
    config, request = small_config(), PlanRequest(expert_slots=3)
    fits = fit_boards(load_checkpoint(checkpoint), [str(tmp_path / "slow.toml"), "st_nucleo_f446re"], "int8", request)
    misses = config.num_hidden_layers * config.num_experts_per_tok
    assert fits[0].misses_per_token == misses
    assert fits[0].stall_bytes_per_token is not None
    page = fits[0].stall_bytes_per_token // misses
    assert fits[0].stall_us_per_token == round(misses * (page / 0.5 + 10) / 180, 3)
    assert fits[1].stall_us_per_token is None


def test_fit_command_needs_no_compiler(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    text = CliRunner().invoke(command, [str(checkpoint)], standalone_mode=False)
    assert text.exit_code == 0, text.output
    assert "st_nucleo_f446re" in text.output
    machine = CliRunner().invoke(command, [str(checkpoint), "--json", "-b", "qemu_mps2_an386"], standalone_mode=False)
    (fit,) = json.loads(machine.output)["data"]["boards"]
    assert fit["fits"] is True
    assert json.loads(machine.output)["data"]["formula"]
