"""`fit`: yes or no for every board, with numbers that can be done by hand, and never an exception."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from random_model import small_config, write_checkpoint

from mmoe_embed.bench.baseline import read_counts
from mmoe_embed.bench.model import measure_model
from mmoe_embed.board import list_boards, load_board
from mmoe_embed.build import BuildRequest, build_firmware
from mmoe_embed.checkpoint import load_checkpoint
from mmoe_embed.cli import main
from mmoe_embed.cli.fit import command
from mmoe_embed.fit import fit_boards
from mmoe_embed.instructions import count_instructions, load_counts
from mmoe_embed.plan import PlanRequest, plan_model
from mmoe_embed.quantize import quantize_checkpoint
from mmoe_embed.quantized import load_quantized
from mmoe_embed.resources import boards_dir, kernels_dir
from mmoe_embed.runners import connect_board


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


def test_count_instructions_follows_the_core_and_the_context(checkpoint: Path) -> None:
    model = quantize_checkpoint(load_checkpoint(checkpoint), "int8")
    totals = {}
    for name in ("qemu_microbit", "qemu_mps2_an385", "st_nucleo_f446re", "st_stm32n6570_dk"):
        prediction = count_instructions(load_board(name), model, positions=20)
        assert prediction is not None
        totals[prediction.machine] = prediction.total
        longer = count_instructions(load_board(name), model, positions=40)
        assert longer is not None
        assert longer.operations["attention"] > prediction.operations["attention"]
        assert longer.operations["moe"] == prediction.operations["moe"]
        layers, top_k = model.config.num_hidden_layers, model.config.num_experts_per_tok
        own = prediction.layer + prediction.shared + top_k * prediction.expert
        assert prediction.total == pytest.approx(layers * own + prediction.head)
        assert min(prediction.layer, prediction.shared, prediction.expert, prediction.head, prediction.checksum) > 0
    assert list(totals) == ["qemu_microbit", "qemu_mps2_an385", "qemu_mps2_an386", "qemu_mps3_an547"]
    assert sorted(totals.values(), reverse=True) == list(totals.values())
    assert count_instructions(load_board("host_x86_64"), model, positions=20) is None


def test_kernel_counts_give_back_what_they_were_made_from() -> None:
    for name in ("qemu_mps2_an385", "qemu_mps2_an386", "qemu_mps3_an547"):
        counts = load_counts(load_board(name))
        assert counts is not None
        for row in read_counts(kernels_dir() / "results" / f"{name}.csv"):
            if row.kernel.startswith(("mmoe_matmul", "mmoe_sample")) or row.columns in (32, 64, 100):
                continue
            kv_heads = 2 if "attention" in row.kernel else 0
            again = counts.of(row.kernel, row.rows, row.columns, row.batch, kv_heads=kv_heads)
            assert again == pytest.approx(row.instructions, rel=0.08), row


@pytest.mark.arm
@pytest.mark.qemu
@pytest.mark.parametrize(
    ("board", "scheme", "slots"),
    [
        ("qemu_mps3_an547", "int8", None),
        pytest.param("qemu_mps3_an547", "int4", 12, marks=pytest.mark.slow),
        ("qemu_mps2_an386", "int4", 12),
        pytest.param("qemu_mps2_an505", "int8", None, marks=pytest.mark.slow),
        pytest.param("qemu_mps2_an385", "int8", 12, marks=pytest.mark.slow),
    ],
)
def test_prediction_is_within_ten_percent_of_a_running_board(
    board: str, scheme: str, slots: int | None, tmp_path: Path
) -> None:
    """A model whose shape the counts were not made for: heads with norms, two key/value heads, wide experts."""
    for program in ("arm-none-eabi-gcc", "qemu-system-arm"):
        if shutil.which(program) is None:
            pytest.skip(f"no {program}")
    shape = small_config(
        hidden_size=96, num_attention_heads=6, num_key_value_heads=2, head_dim=16, qk_norm=True, num_experts=8,
        num_experts_per_tok=3, moe_intermediate_size=48, shared_expert_intermediate_size=80, vocab_size=300,
    )  # fmt: skip
    checkpoint = write_checkpoint(tmp_path / "model", shape)
    build = build_firmware(BuildRequest(checkpoint, board, tmp_path / "b", scheme=scheme, plan=PlanRequest(slots)))
    with connect_board(load_board(board), build) as client:
        cost = measure_model(client, load_board(board), load_quantized(build.quantized), build.plan, tokens=32)
    assert cost.prediction_error is not None
    assert abs(cost.prediction_error) < 0.10, cost


def test_stall_is_misses_times_page_over_bandwidth(checkpoint: Path, tmp_path: Path) -> None:
    text = (boards_dir() / "st_nucleo_f446re.toml").read_text().replace('"st_nucleo_f446re"\nt', '"slow"\nt')
    text = text.replace('name = "flash"\n', 'name = "flash"\nread_bytes_per_cycle = 0.5\nread_latency_cycles = 10\n')
    (tmp_path / "slow.toml").write_text(text)
    config, request = small_config(), PlanRequest(expert_slots=3)
    fits = fit_boards(load_checkpoint(checkpoint), [str(tmp_path / "slow.toml"), "st_nucleo_f446re"], "int8", request)
    misses = config.num_hidden_layers * config.num_experts_per_tok
    assert fits[0].reads_per_token == misses
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


def test_fit_command_fails_where_a_named_board_is_too_small(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a CI job wants to know: exit code 3. Without names every board is only told about."""
    for arguments, code, words in (
        (["-b", "qemu_mps2_an386", "--sram", "1K"], 3, "qemu_mps2_an386: the model does not fit 1024 B of SRAM"),
        (["-b", "qemu_mps2_an387"], 2, "unknown board 'qemu_mps2_an387'"),
        (["--sram", "1K"], 0, ""),
    ):
        with pytest.raises(SystemExit) as caught:
            main(["fit", str(checkpoint), *arguments, "--json"])
        assert caught.value.code == code
        error = json.loads(capsys.readouterr().out)["error"]
        assert words in (error["message"] if error else "")
