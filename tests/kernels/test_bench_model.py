"""`mmoe-embed bench model`: what it counts, and that odd sizes cost little more than the multiples above them: tails."""

import json
from pathlib import Path

import pytest
from random_model import small_config, write_checkpoint
from test_compare import target_or_skip

from mmoe_embed.build import BuildRequest, build_firmware
from mmoe_embed.cli import main
from mmoe_embed.plan import PlanRequest

pytestmark = [pytest.mark.arm, pytest.mark.qemu]
EVEN = {"hidden_size": 64, "moe_intermediate_size": 32, "shared_expert_intermediate_size": 128, "head_dim": 32}
ODD = {"hidden_size": 61, "moe_intermediate_size": 29, "shared_expert_intermediate_size": 121, "head_dim": 30}
TOKENS = 12


def build(folder: Path, board: str, scheme: str, sizes: dict[str, int]) -> Path:
    """A random model on a board, its experts in place."""
    target_or_skip(board, "arm-none-eabi-gcc")
    checkpoint = write_checkpoint(folder / "model", small_config(num_attention_heads=4, **sizes))
    return build_firmware(BuildRequest(checkpoint, board, folder / "build", scheme, PlanRequest(0))).path


def bench_model(capsys: pytest.CaptureFixture[str], build: Path, tokens: int = TOKENS) -> tuple[int, dict]:
    """(exit code, the JSON object)"""
    with pytest.raises(SystemExit) as ended:
        main(["bench", "model", str(build), "--tokens", str(tokens), "--json"])
    return ended.value.code, json.loads(capsys.readouterr().out)


def test_bench_model_counts_every_operation(tmp_path, capsys):
    code, result = bench_model(capsys, folder := build(tmp_path, "qemu_mps2_an386", "int8", EVEN))
    cost = result["data"]
    assert code == 0
    assert (cost["unit"], cost["tokens"]) == ("instructions", TOKENS)
    operations = {operation["name"]: operation for operation in cost["operations"]}
    assert list(operations) == ["embed", "attn_norm", "qkv", "attention", "o", "moe_norm", "moe", "norm", "head"]
    # two layers; rows of q, k, v; a shared FFN and two experts; 300 tokens
    macs = {"qkv": 2 * 6 * 32 * 64, "o": 2 * 64 * 128, "moe": 2 * 3 * 64 * (128 + 2 * 32), "head": 300 * 64}
    assert {name: operation["macs"] for name, operation in operations.items() if operation["macs"]} == macs
    assert cost["goal"] == pytest.approx(1.45 * sum(macs.values()))
    for name, operation in operations.items():  # at least an instruction for two products, or something at all
        assert operation["decode"] > macs.get(name, 0) / 2
    assert cost["decode"] == pytest.approx(sum(operation["decode"] for operation in operations.values()))
    assert cost["decode_ratio"] == pytest.approx(cost["decode"] / cost["goal"])
    assert cost["prefill_ratio"] == pytest.approx(cost["decode"] / cost["prefill"])
    assert operations["head"]["prefill"] < operations["head"]["decode"] / 4  # logits of the last token only
    assert cost["prefill_ratio"] > 1.2
    code, result = bench_model(capsys, folder, tokens=49)
    assert code == 2
    assert result["error"]["try"] == "--tokens 48"


@pytest.mark.parametrize(
    ("board", "scheme"), [("qemu_mps2_an386", "int4"), ("qemu_mps3_an547", "int8"), ("qemu_mps3_an547", "int4")]
)
def test_odd_sizes_pay_only_for_their_tails(board, scheme, tmp_path, capsys):
    even, odd = (
        bench_model(capsys, build(tmp_path / name, board, scheme, sizes))[1]["data"]
        for name, sizes in (("even", EVEN), ("odd", ODD))
    )
    for cost in ("decode", "prefill"):
        assert odd[cost] < 1.1 * even[cost]
