"""A classifier on a board: validated, scored on recordings, refused what needs text."""

import json
from pathlib import Path

import numpy as np
import pytest
from random_model import CLASSIFIER, small_config, write_checkpoint, write_signals
from safetensors.numpy import save_file
from verbs import Run

from mmoe_embed.build import BuildRequest, build_firmware
from mmoe_embed.build_folder import BuildFolder
from mmoe_embed.errors import ToolkitError
from mmoe_embed.signals import cut_windows, read_signals

CONFIG = small_config(**CLASSIFIER)


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> BuildFolder:
    folder = tmp_path_factory.mktemp("classifier")
    checkpoint = write_checkpoint(folder / "model", CONFIG)
    return build_firmware(BuildRequest(checkpoint, "host_x86_64", folder / "build", "int4"))


@pytest.mark.gcc
def test_validate_and_accuracy_are_the_hosts(build: BuildFolder, tmp_path: Path, run: Run) -> None:
    code, out, _ = run("validate", build.path, "--steps", "40")
    assert code == 0
    assert "bit-identical to the golden: 40 of 40" in out
    data = write_signals(tmp_path / "data.safetensors", CONFIG)
    results = []
    for where in ([], ["--host"]):
        file = tmp_path / f"{len(where)}.jsonl"
        code, out, _ = run("accuracy", build.path, data, *where, "--results", file, "--json")
        assert code == 0
        results.append((json.loads(out)["data"]["perplexity"], file.read_text()))
    assert results[0] == results[1]
    records = [json.loads(line) for line in results[0][1].splitlines()[1:]]
    assert [record["expected"] for record in records] == [*CONFIG.class_names, "one"]
    assert all(record["correct"] == (record["answer"] == record["expected"]) for record in records)


@pytest.mark.gcc
def test_demo_proves_and_asks_nothing(tmp_path: Path, run: Run) -> None:
    checkpoint = write_checkpoint(tmp_path / "model", CONFIG)
    code, out, err = run("demo", checkpoint, "--board", "host_x86_64", "-o", tmp_path / "build")
    assert code == 0, err
    assert "bit-identical to the golden: 200 of 200" in out
    assert "answer" not in out


@pytest.mark.gcc
def test_what_needs_text_is_refused_in_words(build: BuildFolder, tmp_path: Path, run: Run) -> None:
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"prompt": "wake me", "completion": "alarm"}\n')
    for arguments in (
        ("run", build.path, "wake me"),
        ("trace", build.path, "--prompts", prompts, "-o", tmp_path / "trace.csv"),
        ("mlperf", build.path, prompts, "-o", tmp_path / "mlperf"),
        ("validate", build.path, "--prompts", prompts),
    ):
        code, _, err = run(*arguments)
        assert code > 0
        assert "classifies windows of a signal" in err, arguments
        assert "Traceback" not in err


def test_windows_overlap_and_hold_frame_after_frame() -> None:
    signal = np.arange(3 * 20, dtype=np.float32).reshape(20, 3)
    windows = cut_windows(signal, CONFIG)
    assert windows.shape == (4, 24)
    np.testing.assert_array_equal(windows[1], signal[4:12].reshape(-1))


@pytest.mark.parametrize(
    ("shape", "labels", "message"),
    [
        ((2, 40, 4), [0, 1], "4 channels"),
        ((2, 5, 3), [0, 1], "is 0 windows"),
        ((2, 80, 3), [0, 1], "is 19 windows"),
        ((2, 40, 3), [0, 5], r"not all 0\.\.4"),
        ((2, 40, 3), [0], "signals, .* labels"),
    ],
)
def test_signals_that_do_not_suit_the_model(
    tmp_path: Path, shape: tuple[int, ...], labels: list[int], message: str
) -> None:
    file = tmp_path / "data.safetensors"
    tensors = {"signals": np.zeros(shape, np.float32), "labels": np.array(labels)}
    save_file(tensors, file, metadata={"mmoe-embed": json.dumps({"classes": CONFIG.class_names})})
    with pytest.raises(ToolkitError, match=message):
        read_signals(file, CONFIG)


def test_files_that_hold_no_signals(tmp_path: Path) -> None:
    with pytest.raises(ToolkitError, match="no data file"):
        read_signals(tmp_path / "absent.safetensors", CONFIG)
    save_file({"signals": np.zeros((1, 40, 3), np.float32)}, tmp_path / "half.safetensors")
    with pytest.raises(ToolkitError, match="a data set of signals holds"):
        read_signals(tmp_path / "half.safetensors", CONFIG)
