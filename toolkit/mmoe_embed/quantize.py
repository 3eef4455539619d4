"""From a float checkpoint to integers (SPEC.md 2)."""

import numpy as np
from numpy.typing import NDArray

from mmoe_embed.checkpoint import Checkpoint
from mmoe_embed.errors import ToolkitError
from mmoe_embed.quantized import GROUP, SCHEMES, Matrix, Quantized

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


def joined_matrices(checkpoint: Checkpoint) -> dict[str, NDArray[np.float32]]:
    """The float matrices under their quantized names: q, k and v joined, gate and up joined, one expert each."""
    tensors, config = checkpoint.tensors, checkpoint.config
    matrices = {"embed": tensors["embed_tokens.weight"]}
    for layer in range(config.num_hidden_layers):
        at = f"layers.{layer}."
        matrices[at + "qkv"] = np.concatenate([tensors[f"{at}attn.{x}_proj.weight"] for x in "qkv"])
        matrices[at + "o"] = tensors[at + "attn.o_proj.weight"]
        if config.shared_expert_intermediate_size:
            gate, up, down = (tensors[f"{at}moe.shared.{x}_proj.weight"] for x in ("gate", "up", "down"))
            matrices |= {at + "shared.gate_up": np.concatenate([gate, up]), at + "shared.down": down}
        for expert in range(config.num_experts):
            gate, up, down = (tensors[f"{at}moe.experts.{x}_proj"][expert] for x in ("gate", "up", "down"))
            matrices |= {
                f"{at}experts.{expert}.gate_up": np.concatenate([gate, up]),
                f"{at}experts.{expert}.down": down,
            }
    return matrices


def quantize_checkpoint(checkpoint: Checkpoint, scheme: str) -> Quantized:
    """Quantize every matrix of a checkpoint; router, norms and bias stay float32.

    Args:
        checkpoint: the float model.
        scheme: "int8", or "int4" (linear layers INT4, embedding INT8).

    Raises:
        ToolkitError: unknown scheme.
    """
    if scheme not in SCHEMES:
        raise ToolkitError(f"unknown scheme {scheme!r}; supported: {', '.join(SCHEMES)}")
    tensors, config = checkpoint.tensors, checkpoint.config
    matrices = {
        name: quantize_int4(weights) if scheme == "int4" and name != "embed" else quantize_int8(weights)
        for name, weights in joined_matrices(checkpoint).items()
    }
    floats = {"norm": tensors["norm.weight"]}
    for layer in range(config.num_hidden_layers):
        at = f"layers.{layer}."
        floats |= {at + "attn_norm": tensors[at + "attn_norm.weight"], at + "moe_norm": tensors[at + "moe_norm.weight"]}
        if config.num_experts:
            floats |= {at + f"router.{x}": tensors[at + f"moe.router.{x}"] for x in ("weight", "bias")}
    floats["rotary.cos"], floats["rotary.sin"] = _rotary_tables(
        config.max_position_embeddings, config.head_dim, config.rope_theta
    )
    return Quantized(config, checkpoint.generation, checkpoint.tokenizer, scheme, checkpoint.sha256, matrices, floats)


def _rotary_tables(context: int, head_dim: int, theta: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    frequency = theta ** (-2.0 * np.arange(head_dim // 2) / head_dim)
    angle = np.arange(context)[:, None] * frequency
    return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)


def measure_error(checkpoint: Checkpoint, model: Quantized) -> dict[str, float]:
    """Relative error of each kind of matrix: |float - quantized| / |float| in the Frobenius norm, over all layers."""
    exact = joined_matrices(checkpoint)
    squares: dict[str, list[float]] = {}
    for name, matrix in model.matrices.items():
        kind = ".".join(part for part in name.split(".") if not part.isdigit())
        difference = matrix.dequantize() - exact[name]
        sums = squares.setdefault(kind, [0.0, 0.0])
        sums[0] += float((difference.astype(np.float64) ** 2).sum())
        sums[1] += float((exact[name].astype(np.float64) ** 2).sum())
    return {kind: (wrong / max(total, 1e-300)) ** 0.5 for kind, (wrong, total) in squares.items()}
