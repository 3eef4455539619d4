"""From a float checkpoint to integers (SPEC.md 2)."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmoe_embed.checkpoint import Checkpoint
from mmoe_embed.errors import ToolkitError
from mmoe_embed.quantized import GROUP, SCHEMES, Matrix, Quantized, file_header, matrix_bits, matrix_shapes
from mmoe_embed.rotary import rotary_tables
from mmoe_embed.tensors import create_tensors

_OUTSIDE = {"embed": "embed_tokens.weight", "input": "input.proj.weight", "head": "lm_head.weight"}
_BLOCK = 1 << 22  # weights that are worked on at once
TINY = np.float32(2.0**-64)  # a largest weight below this counts as zero


def quantize_int8(weights: NDArray[np.float32]) -> Matrix:
    """INT8 with one scale a row.

    Args:
        weights: float32 (rows, columns).
    """
    scale = np.abs(weights).max(axis=1) / np.float32(127)
    scale = np.where(scale < TINY, np.float32(0), scale)
    divisor = np.where(scale == 0, np.float32(1), scale)
    q = np.clip(np.rint(weights / divisor[:, None]), -127, 127)
    q[scale == 0] = 0
    return Matrix(q.astype(np.int8), scale)


def quantize_int4(weights: NDArray[np.float32]) -> Matrix:
    """INT4 in groups of 32 columns: small-integer group scales under one float scale a row.

    Args:
        weights: float32 (rows, columns).
    Source:
        range and group scale: MobileMoE (arXiv 2605.27358); the integer group scale is this project's.
    """
    rows, columns = weights.shape
    groups = -(-columns // GROUP)
    padded = np.zeros((rows, groups * GROUP), np.float32)
    padded[:, :columns] = weights
    grouped = padded.reshape(rows, groups, GROUP)
    largest = np.abs(grouped).max(axis=2)
    wanted = (np.float32(2) * largest) / np.float32(15)
    scale = wanted.max(axis=1) / np.float32(255)
    scale = np.where(scale < TINY, np.float32(0), scale)
    divisor = np.where(scale == 0, np.float32(1), scale)
    group = np.clip(np.rint(wanted / divisor[:, None]), 1, 255)
    group[(largest == 0) | (scale == 0)[:, None]] = 0
    step = scale[:, None] * group
    q = np.clip(np.rint(grouped / np.where(step == 0, np.float32(1), step)[:, :, None]), -8, 7)
    q[step == 0] = 0
    return Matrix(q.reshape(rows, -1)[:, :columns].astype(np.int8), scale, group.astype(np.uint8))


def read_matrix(checkpoint: Checkpoint, name: str) -> NDArray[np.float32]:
    """The float matrix of a quantized name: q, k and v joined, gate and up joined, one expert of a stack."""
    tensors = checkpoint.tensors
    if name in _OUTSIDE:
        return tensors[_OUTSIDE[name]]
    at, part = "layers.{}.".format(name.split(".")[1]), name.split(".", 2)[2]
    if part == "qkv":
        return np.concatenate([tensors[f"{at}attn.{x}_proj.weight"] for x in "qkv"])
    if part == "o":
        return tensors[at + "attn.o_proj.weight"]
    kind, *expert, matrix = part.split(".")
    projections = ("gate", "up") if matrix == "gate_up" else ("down",)
    if kind == "shared":
        return np.concatenate([tensors[f"{at}moe.shared.{x}_proj.weight"] for x in projections])
    return np.concatenate([tensors.part(f"{at}moe.experts.{x}_proj", int(expert[0])) for x in projections])


def quantize_matrix(name: str, weights: NDArray[np.float32], scheme: str) -> Matrix:
    """One matrix as a scheme wants it."""
    quantize = quantize_int4 if matrix_bits(name, scheme) == 4 else quantize_int8
    rows = max(1, _BLOCK // weights.shape[1])  # each row stands alone: some at a time need less memory
    blocks = [quantize(weights[start : start + rows]) for start in range(0, len(weights), rows)]
    if len(blocks) == 1:
        return blocks[0]
    group = np.concatenate([b.group for b in blocks if b.group is not None]) if blocks[0].group is not None else None
    return Matrix(np.concatenate([b.q for b in blocks]), np.concatenate([b.scale for b in blocks]), group)


def quantize_checkpoint(checkpoint: Checkpoint, scheme: str) -> Quantized:
    """Quantize every matrix of a checkpoint; what is no matrix, and the router, stay float32.

    Args:
        checkpoint: the float model.
        scheme: "int8", or "int4" (linear layers INT4, embedding and head INT8).

    Raises:
        ToolkitError: unknown scheme; a tensor holds a value that is not finite or too large.
    """
    check_scheme(scheme)
    matrices = {
        name: quantize_matrix(name, read_matrix(checkpoint, name), scheme) for name in matrix_shapes(checkpoint.config)
    }
    floats = read_floats(checkpoint)
    return Quantized(
        checkpoint.config, checkpoint.generation, checkpoint.tokenizer, scheme, checkpoint.sha256, matrices, floats
    )


def quantize_to_file(
    checkpoint: Checkpoint, scheme: str, file: Path, on_matrix: Callable[[], None] = lambda: None
) -> dict[str, float]:
    """The file of `quantize_checkpoint`, written matrix by matrix, in the memory of one.

    Args:
        checkpoint: the float model.
        scheme: as there.
        file: appears when it is complete.
        on_matrix: called after each of `matrix_shapes`.

    Returns:
        relative error of each kind of matrix.
    """
    check_scheme(scheme)
    c, errors = checkpoint, RelativeErrors()
    with create_tensors(file, file_header(c.config, c.generation, c.tokenizer, scheme, c.sha256)) as target:
        for name in matrix_shapes(c.config):
            weights = read_matrix(c, name)
            matrix = quantize_matrix(name, weights, scheme)
            errors.add(name, weights, matrix)
            for part, array in (("q", matrix.q), ("scale", matrix.scale), ("group", matrix.group)):
                if array is not None:
                    target.array(f"{name}.{part}", writable=True)[...] = array
            on_matrix()
        for name, tensor in read_floats(c).items():
            target.array(name, writable=True)[...] = tensor
    return errors.values()


def check_scheme(scheme: str) -> None:
    """Refuse a scheme that does not exist."""
    if scheme not in SCHEMES:
        raise ToolkitError(f"unknown scheme {scheme!r}; supported: {', '.join(SCHEMES)}")


def read_floats(checkpoint: Checkpoint) -> dict[str, NDArray[np.float32]]:
    """The tensors that stay float32, under their quantized names."""
    tensors, config = checkpoint.tensors, checkpoint.config
    floats = {"norm": tensors["norm.weight"]}
    if config.is_classifier:
        floats |= {"input_mean": tensors["input.mean"], "input_gain": tensors["input.gain"]}
        floats["input_bias"] = tensors["input.proj.bias"]
    for layer in range(config.num_hidden_layers):
        at = f"layers.{layer}."
        floats |= {at + "attn_norm": tensors[at + "attn_norm.weight"], at + "moe_norm": tensors[at + "moe_norm.weight"]}
        if config.attention_bias:
            floats[at + "qkv_bias"] = np.concatenate([tensors[f"{at}attn.{x}_proj.bias"] for x in "qkv"])
        if config.pre_rotary_norm != "none":
            floats |= {at + f"{x}_norm": tensors[f"{at}attn.{x}_norm.weight"] for x in "qk"}
        if config.experts_of(layer):
            floats |= {at + f"router.{x}": tensors[at + f"moe.router.{x}"] for x in ("weight", "bias")}
        if config.shared_expert_gate and layer not in config.dense_layers:
            floats[at + "shared_gate"] = tensors[at + "moe.shared_gate.weight"][0]
    floats["rotary.cos"], floats["rotary.sin"] = rotary_tables(config)
    return floats


class RelativeErrors:
    """|float - quantized| / |float| in the Frobenius norm of each kind of matrix, over all layers."""

    def __init__(self) -> None:
        self._squares: dict[str, list[float]] = {}

    def add(self, name: str, exact: NDArray[np.float32], matrix: Matrix) -> None:
        """Count one matrix in."""
        kind = ".".join(part for part in name.split(".") if not part.isdigit())
        sums = self._squares.setdefault(kind, [0.0, 0.0])
        rows = max(1, _BLOCK // matrix.columns)
        for start in range(0, matrix.rows, rows):
            block = exact[start : start + rows]
            difference = matrix.part(start, start + rows).dequantize() - block
            sums[0] += float(np.square(difference, dtype=np.float64).sum())
            sums[1] += float(np.square(block, dtype=np.float64).sum())

    def values(self) -> dict[str, float]:
        """By kind."""
        return {kind: (wrong / max(total, 1e-300)) ** 0.5 for kind, (wrong, total) in self._squares.items()}


def measure_error(checkpoint: Checkpoint, model: Quantized) -> dict[str, float]:
    """Relative error of each kind of matrix."""
    errors = RelativeErrors()
    for name, matrix in model.matrices.items():
        errors.add(name, read_matrix(checkpoint, name), matrix)
    return errors.values()
