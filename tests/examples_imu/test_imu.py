"""The sensor example: data that repeats and says that it is synthetic, and a checkpoint that tells the activities apart."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from mmoe_embed.checkpoint import load_checkpoint
from mmoe_embed.golden import Golden
from mmoe_embed.quantize import quantize_checkpoint
from mmoe_embed.signals import cut_windows, read_signals
from mmoe_embed.tensors import TensorFile

IMU = Path(__file__).resolve().parents[2] / "examples" / "imu"
sys.path.insert(0, str(IMU))

import imu_signals


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """People that training has never met."""
    file = tmp_path_factory.mktemp("imu") / "small.safetensors"
    imu_signals.write(file, *imu_signals.generate(persons=3, recordings=1, seed=7))
    return file


def test_signals_repeat_and_are_labelled_synthetic(dataset: Path) -> None:
    again, labels = imu_signals.generate(persons=3, recordings=1, seed=7)
    archive = TensorFile(dataset)
    np.testing.assert_array_equal(archive.array("signals"), again)
    np.testing.assert_array_equal(np.bincount(labels), [3] * 6)
    assert json.loads(archive.metadata["mmoe-embed"])["source"] == "SYNTHETIC"


def test_signals_obey_mechanics() -> None:
    signals, labels = imu_signals.generate(persons=8, recordings=1, seed=3)
    force = np.linalg.norm(signals[:, :, :3], axis=2)
    at_rest = force[labels <= imu_signals.ACTIVITIES.index("standing")]
    assert 0.9 < at_rest.mean() < 1.1  # gravity and little else
    running = force[labels == imu_signals.ACTIVITIES.index("running")]
    assert running.max() > 2
    assert np.abs(signals[:, :, :3]).max() <= imu_signals.ACC_RANGE
    assert np.abs(signals[:, :, 3:]).max() <= imu_signals.GYR_RANGE + 1e-6


@pytest.mark.parametrize("scheme", ["int8", "int4"])
def test_checkpoint_tells_activities_apart(dataset: Path, scheme: str) -> None:
    checkpoint = load_checkpoint(IMU)
    golden = Golden(quantize_checkpoint(checkpoint, scheme))
    data = read_signals(dataset, checkpoint.config)
    right = 0
    for signal, label in zip(data.values, data.labels, strict=True):
        golden.reset()
        right += int(np.argmax(golden.classify(cut_windows(signal, golden.config)))) == label
    assert right >= 17
