"""The benchmark verb, the recorded counts, and the goals in instructions a multiply-accumulate."""

import json
from dataclasses import replace

import pytest
from test_compare import target_or_skip

from mmoe_embed.bench import measure
from mmoe_embed.bench.baseline import compare_counts, read_counts, write_counts
from mmoe_embed.bench.image import compiler_of
from mmoe_embed.bench.measure import measure_kernels
from mmoe_embed.bench.targets import TARGETS
from mmoe_embed.cli import main
from mmoe_embed.resources import kernels_dir

RESULTS = kernels_dir() / "results"
# INT8, INT4 in groups of 32; 512 x 256
GOALS = {"qemu_mps3_an547": (0.165, 0.23), "qemu_mps2_an386": (1.45, 1.40)}


@pytest.mark.arm
@pytest.mark.qemu
@pytest.mark.parametrize("board", [path.stem for path in sorted(RESULTS.glob("*.csv"))])
def test_no_kernel_loses_more_than_3_percent(board):
    target_or_skip(board, compiler_of(TARGETS[board]))
    recorded = read_counts(RESULTS / f"{board}.csv")
    failure = compare_counts(recorded, measure_kernels(board)).failure
    assert not failure, f"against {RESULTS.name}/{board}.csv; where it is meant: bench kernels --save"


@pytest.mark.parametrize("board", GOALS)
def test_recorded_matrix_products_reach_their_goals(board):
    counts = {count.shape: count.instructions_per_mac for count in read_counts(RESULTS / f"{board}.csv")}
    int8, int4 = GOALS[board]
    assert counts["mmoe_matvec_s8", 512, 256, 1] <= int8
    assert counts["mmoe_matvec_s4g32", 512, 256, 1] <= int4


def test_code_of_a_kernel_counts_what_it_calls():
    code = {count.kernel: count.code_bytes for count in read_counts(RESULTS / "qemu_mps2_an386.csv")}
    assert code["mmoe_rmsnorm_s8"] > code["mmoe_rmsnorm_f32"] + code["mmoe_quantize_s8"] / 2
    assert code["mmoe_sample_f32"] > code["mmoe_argmax_f32"] > 0
    assert {"mmoe_gate_f32", "mmoe_normalize_f32", "mmoe_route_f32", "mmoe_crc32"} <= code.keys()


@pytest.mark.arm
@pytest.mark.qemu
def test_matrix_products_reach_their_goals_with_clang():
    target_or_skip("qemu_mps3_an547", "zig")
    for board, (int8, int4) in GOALS.items():
        counts = {count.shape: count.instructions_per_mac for count in measure_kernels(board, "zig")}
        assert counts["mmoe_matvec_s8", 512, 256, 1] <= int8
        assert counts["mmoe_matvec_s4g32", 512, 256, 1] <= int4


def failed(capsys, *arguments):
    """Exit code and error message of a `bench kernels --json`."""
    with pytest.raises(SystemExit) as ended:
        main(["bench", "kernels", *arguments, "--json"])
    error = json.loads(capsys.readouterr().out)["error"]
    return ended.value.code, f"{error['message']} {error['at']}"


@pytest.mark.gcc
def test_bench_kernels_json_and_baseline(tmp_path, capsys):
    target_or_skip("host_x86_64", "gcc")
    baseline = tmp_path / "before.csv"
    arguments = ["--board", "host_x86_64", "--kernel", "mmoe_matvec_s8"]
    with pytest.raises(SystemExit) as ended:
        main(["bench", "kernels", *arguments, "--json", "--save", str(baseline)])
    assert ended.value.code == 0
    kernels = json.loads(capsys.readouterr().out)["data"]["kernels"]
    assert {(k["rows"], k["columns"]) for k in kernels} >= {(512, 256)}
    assert all(k["nanoseconds"] > 0 and k["macs"] == k["rows"] * k["columns"] for k in kernels)
    # A baseline a hundred times as fast, with a shape that there is no more: everything has lost.
    fast = [replace(c, nanoseconds=max(1, c.nanoseconds // 100)) for c in read_counts(baseline)]
    write_counts([*fast, replace(fast[0], rows=511)], baseline)
    code, message = failed(capsys, *arguments, "--baseline", str(baseline))
    assert code == 1
    assert message.count(" %") == len(fast)
    assert "not measured: mmoe_matvec_s8 511 x 256 x 1" in message


def test_only_what_a_baseline_has_is_compared():
    recorded = read_counts(RESULTS / "qemu_mps2_an386.csv")
    assert compare_counts(recorded[1:], recorded).failure == ""
    assert compare_counts(recorded, recorded[1:]).failure == f"in the baseline and not measured: {recorded[0].label}"
    slower = [replace(count, instructions=count.instructions * 2) for count in recorded[:1]]
    assert compare_counts(recorded[:1], slower).failure == f"slower than the baseline: {recorded[0].label} +100.0 %"


@pytest.fixture
def no_build(monkeypatch):
    monkeypatch.setattr(measure, "build_program", lambda *_arguments, **_others: pytest.fail("a program was built"))


RECORDED = (RESULTS / "qemu_mps2_an386.csv").read_text()
FIRST, *_ = RECORDED.splitlines()


@pytest.mark.parametrize(
    ("text", "at"),
    [
        pytest.param("", "B.csv:1", id="empty"),
        pytest.param("name,speed\na,1\n", "B.csv:1", id="foreign"),
        pytest.param(f"{FIRST}\n", "B.csv:2", id="no kernel"),
        pytest.param(RECORDED.replace("131072,", "many,", 1), "B.csv:2", id="no number"),
        pytest.param(f"{RECORDED}mmoe_add_f32,1,2,3\n", f"B.csv:{RECORDED.count(chr(10)) + 1}", id="cut"),
        pytest.param(f"{FIRST}\nmmoe_add_f32,1,2,3,4,0,0.0,0,1,1\n", "B.csv:2", id="no cost"),
    ],
)
def test_a_file_that_is_no_baseline_is_refused_before_the_build(text, at, tmp_path, capsys, no_build):
    (tmp_path / "B.csv").write_text(text)
    code, message = failed(capsys, "--board", "qemu_mps2_an386", "--baseline", str(tmp_path / "B.csv"))
    assert code == 1
    assert "not a kernel baseline" in message
    assert message.endswith(at)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--board", "toaster"], "toaster"),
        (["--kernel", "mmoe_matvec"], "no kernel is called mmoe_matvec"),
        (["--compiler", "clang"], "clang"),
        (["--compiler", "tcc"], "tcc"),
        (["--baseline", str(RESULTS / "qemu_mps3_an547.csv")], "qemu_mps3_an547, not after qemu_mps2_an386"),
        (["--baseline", "{other}", "--kernel", "mmoe_exp_f32"], "no mmoe_exp_f32"),
        (["--baseline", "{other}", "--board", "host_x86_64"], "nanoseconds"),
    ],
)
def test_wrong_usage_is_refused_before_the_build(arguments, words, tmp_path, capsys, no_build):
    other = tmp_path / "other.csv"
    other.write_text(RECORDED)
    board = [] if "--board" in arguments else ["--board", "qemu_mps2_an386"]
    code, message = failed(capsys, *board, *(argument.format(other=other) for argument in arguments))
    assert code == 2
    assert words in message
