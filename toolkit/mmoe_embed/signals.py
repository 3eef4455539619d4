"""Recorded signals and the windows that a classifier takes of them (SPEC.md 3.8)."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmoe_embed.config import ModelConfig, parse_json
from mmoe_embed.errors import ToolkitError
from mmoe_embed.quantized import Quantized
from mmoe_embed.tensors import TensorFile

Floats = NDArray[np.float32]
DRAWN_WINDOWS = 64  # random windows that stand for the vocabulary where a classifier is validated


@dataclasses.dataclass(frozen=True)
class Signals:
    """A data set.

    Attributes:
        values: float32 (recordings, frames, channels).
        labels: int64 (recordings), index of the class.
        classes: their names.
    """

    values: Floats
    labels: NDArray[np.int64]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)


def read_signals(file: Path, config: ModelConfig, make: str = "") -> Signals:
    """Read a safetensors file of `signals` and `labels`, its metadata `mmoe-embed` an object with `classes`.

    Args:
        file: the data set.
        config: the classifier that it is for.
        make: the command that writes the file, for the error.

    Raises:
        ToolkitError: no such file, not such a file, or one of other classes, channels or lengths.
    """
    if not file.is_file():
        raise ToolkitError(f"no data file {file.name} in {file.parent}", at=str(file), try_=make or "write it")
    archive = TensorFile(file)
    kinds = {name: kind.dtype for name, kind in archive.kinds.items()}
    if kinds != {"signals": "F32", "labels": "I64"}:
        raise ToolkitError(
            "a data set of signals holds `signals` F32 (recordings, frames, channels) and `labels` I64 (recordings)",
            at=str(file),
            try_="write it as examples/imu/imu_signals.py does",
        )
    described: dict[str, Any] = parse_json(archive.metadata.get("mmoe-embed", "{}").encode(), str(file))
    values, labels = (np.array(archive.array(name)) for name in ("signals", "labels"))
    classes = tuple(map(str, described.get("classes") or ()))
    _check_signals(values, labels, classes, config, str(file))
    return Signals(values, labels, classes)


def _check_signals(
    values: Floats, labels: NDArray[np.int64], classes: Sequence[str], config: ModelConfig, at: str
) -> None:
    def require(ok: bool, message: str) -> None:
        if not ok:
            raise ToolkitError(message, at=at, try_="a data set of the model's own signals")

    require(values.ndim == 3 and labels.shape == values.shape[:1], f"{values.shape} signals, {labels.shape} labels")
    require(list(classes) == config.class_names, f"its classes are {list(classes)}, the model's {config.class_names}")
    channels = config.input_channels
    require(values.shape[2] == channels, f"its signals have {values.shape[2]} channels, the model's {channels}")
    count, most = count_windows(values.shape[1], config), config.max_position_embeddings
    require(1 <= count <= most, f"a recording of {values.shape[1]} frames is {count} windows, the model has 1..{most}")
    require(bool(((labels >= 0) & (labels < len(classes))).all()), f"labels are not all 0..{len(classes) - 1}")


def count_windows(frames: int, config: ModelConfig) -> int:
    """Windows of a recording."""
    return max(0, (frames - config.input_frames) // config.input_stride + 1)


def cut_windows(signal: Floats, config: ModelConfig) -> Floats:
    """Overlapping windows of recordings.

    Args:
        signal: float32 (..., frames, channels).

    Returns:
        float32 (..., windows, window_size), frame after frame.
    """
    windows = np.lib.stride_tricks.sliding_window_view(signal, config.input_frames, axis=-2)[
        ..., :: config.input_stride, :, :
    ]  # (..., windows, channels, frames)
    return np.ascontiguousarray(windows.swapaxes(-1, -2).reshape(*windows.shape[:-2], config.window_size))


def draw_windows(model: Quantized, seed: int = 0) -> Floats:
    """Random windows of the size that the model's signals have, float32 (64, window_size)."""
    config, floats = model.config, model.floats
    gain = np.where(floats["input_gain"] == 0, np.float32(1), floats["input_gain"])
    noise = np.random.default_rng(seed).standard_normal((DRAWN_WINDOWS, config.input_frames, config.input_channels))
    return np.asarray(floats["input_mean"] + noise / gain, np.float32).reshape(DRAWN_WINDOWS, -1)
