"""The benchmark verb, the recorded counts, and the goals in instructions a multiply-accumulate."""

import json

import pytest
from test_compare import target_or_skip

from mmoe_embed.bench.image import compiler_of
from mmoe_embed.bench.measure import ALLOWED_LOSS, compare_counts, measure_kernels, read_counts, write_counts
from mmoe_embed.bench.targets import TARGETS
from mmoe_embed.cli import main
from mmoe_embed.errors import ToolkitError
from mmoe_embed.resources import kernels_dir

RESULTS = kernels_dir() / "results"
# INT8, INT4 in groups of 32; 512 x 256
GOALS = {"qemu_mps3_an547": (0.165, 0.23), "qemu_mps2_an386": (1.45, 1.40)}


@pytest.mark.arm
@pytest.mark.qemu
@pytest.mark.parametrize(
    "board",
    [
        pytest.param(path.stem, marks=[pytest.mark.slow] if path.stem == "qemu_microbit" else [])
        for path in sorted(RESULTS.glob("*.csv"))
    ],
)
def test_no_kernel_loses_more_than_3_percent(board):
    target_or_skip(board, compiler_of(TARGETS[board]))
    recorded = read_counts(RESULTS / f"{board}.csv")
    changes = compare_counts(recorded, measure_kernels(board))
    assert len(changes) == len(recorded)
    lost = [(c.after.shape, c.before.cost, c.after.cost) for c in changes if c.ratio > 1 + ALLOWED_LOSS]
    assert not lost, f"slower than {RESULTS.name}/{board}.csv; where it is meant: bench kernels --save"


@pytest.mark.parametrize("board", GOALS)
def test_recorded_matrix_products_reach_their_goals(board):
    counts = {count.shape: count.instructions_per_mac for count in read_counts(RESULTS / f"{board}.csv")}
    int8, int4 = GOALS[board]
    assert counts["mmoe_matvec_s8", 512, 256, 1] <= int8
    assert counts["mmoe_matvec_s4g32", 512, 256, 1] <= int4


@pytest.mark.arm
@pytest.mark.qemu
def test_matrix_products_reach_their_goals_with_clang():
    target_or_skip("qemu_mps3_an547", "zig")
    for board, (int8, int4) in GOALS.items():
        counts = {count.shape: count.instructions_per_mac for count in measure_kernels(board, "zig")}
        assert counts["mmoe_matvec_s8", 512, 256, 1] <= int8
        assert counts["mmoe_matvec_s4g32", 512, 256, 1] <= int4


@pytest.mark.gcc
def test_bench_kernels_json_and_baseline(tmp_path, capsys):
    target_or_skip("host_x86_64", "gcc")
    baseline = tmp_path / "before.csv"
    arguments = ["bench", "kernels", "--board", "host_x86_64", "--kernel", "mmoe_matvec_s8", "--json"]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--save", str(baseline)])
    assert ended.value.code == 0
    kernels = json.loads(capsys.readouterr().out)["data"]["kernels"]
    assert {(k["rows"], k["columns"]) for k in kernels} >= {(512, 256)}
    assert all(k["nanoseconds"] > 0 and k["macs"] == k["rows"] * k["columns"] for k in kernels)
    # A baseline twice as fast: everything has lost.
    fast = [type(c)(**{**vars(c), "nanoseconds": max(1, c.nanoseconds // 100)}) for c in read_counts(baseline)]
    write_counts(fast, baseline)
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--baseline", str(baseline)])
    assert ended.value.code == 1


def test_bench_unknown_board_names_those_there_are():
    with pytest.raises(ToolkitError, match="qemu_mps3_an547"):
        measure_kernels("toaster")
