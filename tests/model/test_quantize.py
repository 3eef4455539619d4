"""Quantization gives the integers of SPEC.md 2; its file reads back the same."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from random_model import small_config, write_checkpoint

from mmoe_embed.checkpoint import load_checkpoint
from mmoe_embed.errors import ToolkitError
from mmoe_embed.quantize import measure_error, quantize_checkpoint, quantize_int4, quantize_int8
from mmoe_embed.quantized import SCHEMES, load_quantized, save_quantized

_weights = arrays(
    np.float32,
    st.tuples(st.integers(1, 5), st.integers(1, 70)),
    elements=st.floats(-1e6, 1e6, width=32) | st.just(0.0) | st.floats(-(2.0**-90), 2.0**-90, width=32),
)


@given(_weights)
@settings(max_examples=200, deadline=None)
def test_quantize_int8_is_within_half_a_step(weights: np.ndarray) -> None:
    matrix = quantize_int8(weights)
    assert np.abs(matrix.q).max() <= 127
    error = np.abs(matrix.dequantize() - weights)
    assert (error <= matrix.scale[:, None] * 0.5001 + np.float32(2.0**-57)).all()


@given(_weights)
@settings(max_examples=200, deadline=None)
def test_quantize_int4_is_within_one_step(weights: np.ndarray) -> None:
    matrix = quantize_int4(weights)
    assert matrix.group is not None
    assert matrix.q.min() >= -8
    assert matrix.q.max() <= 7
    # half a step of rounding, half of clipping at +7.5, and what rounding the group scale takes; a scale under 2^-64 is 0
    step = matrix.scale[:, None] * np.maximum(1, np.repeat(matrix.group, 32, axis=1)[:, : weights.shape[1]])
    least = np.float32(7.5 * 255 * 2.0**-64)
    assert (np.abs(matrix.dequantize() - weights) <= step * 0.51 + matrix.scale[:, None] * 4.1 + least).all()


def test_quantize_int4_worked_example() -> None:
    weights = np.zeros((1, 64), np.float32)
    weights[0, :3] = [7.5, -7.5, 1.0]
    weights[0, 32] = 0.9
    matrix = quantize_int4(weights)
    assert matrix.group is not None
    assert matrix.group.tolist() == [[255, 31]]  # 0.12 * 255 = 30.6
    assert matrix.q[0, [0, 1, 2, 32]].tolist() == [7, -8, 1, 7]
    assert matrix.scale[0] == np.float32(1) / np.float32(255)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_save_and_load_gives_the_same_model(tmp_path: Path, scheme: str) -> None:
    checkpoint = load_checkpoint(write_checkpoint(tmp_path, small_config(moe_intermediate_size=40)))
    model = quantize_checkpoint(checkpoint, scheme)
    save_quantized(model, tmp_path / "q.safetensors")
    again = load_quantized(tmp_path / "q.safetensors")
    assert again.model_id == model.model_id
    for name, matrix in model.matrices.items():
        np.testing.assert_array_equal(again.matrices[name].q, matrix.q)
    errors = measure_error(checkpoint, model)
    assert max(errors.values()) < (0.02 if scheme == "int8" else 0.2)


def test_load_quantized_refuses_a_plain_checkpoint(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, small_config())
    with pytest.raises(ToolkitError, match="not a quantized model"):
        load_quantized(folder / "model.safetensors")
