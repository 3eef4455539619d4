"""The quantized model: integers, scales and the few float tensors, in memory and as a file (SPEC.md 2)."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from mmoe_embed.config import GenerationConfig, ModelConfig, parse_config, parse_generation, parse_json
from mmoe_embed.errors import ToolkitError
from mmoe_embed.whole_file import write_whole

GROUP = 32
SCHEMES = ("int8", "int4")
_FORMAT = "mmoe-embed quantized"
_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Matrix:
    """A quantized matrix: `scale[r] * group[r, c // 32] * q[r, c]` is the weight at (r, c); group is 1 in INT8."""

    q: NDArray[np.int8]  # (rows, columns); -127..127, or -8..7 with groups
    scale: NDArray[np.float32]  # (rows)
    group: NDArray[np.uint8] | None = None  # (rows, ceil(columns / 32))

    @property
    def bits(self) -> int:
        """Bits a weight takes in flash."""
        return 8 if self.group is None else 4

    @property
    def rows(self) -> int:
        """Output size."""
        return int(self.q.shape[0])

    @property
    def columns(self) -> int:
        """Input size."""
        return int(self.q.shape[1])

    def dequantize(self) -> NDArray[np.float32]:
        """The float32 (rows, columns) matrix that the integers stand for."""
        step = self.scale[:, None]
        if self.group is not None:
            step = step * np.repeat(self.group, GROUP, axis=1)[:, : self.columns].astype(np.float32)
        return self.q.astype(np.float32) * step


@dataclasses.dataclass(frozen=True)
class Quantized:
    """A whole quantized model; matrices and float32 tensors by the names of SPEC.md 2."""

    config: ModelConfig
    generation: GenerationConfig
    tokenizer: str  # tokenizer.json
    scheme: str
    source_sha256: str  # of the checkpoint's model.safetensors
    matrices: Mapping[str, Matrix]
    floats: Mapping[str, NDArray[np.float32]]

    @property
    def name(self) -> str:
        """How emitted files call the model: by what it is, never by where its files lay."""
        return f"{self.config.model_type}-{self.model_id[:8]}"

    @functools.cached_property
    def model_id(self) -> str:
        """sha256 of the model's file, in hex: what a board must report to be running this model."""
        return hashlib.sha256(serialize_quantized(self)).hexdigest()


def matrix_shapes(config: ModelConfig) -> dict[str, tuple[int, int]]:
    """Every quantized matrix and its (rows, columns)."""
    d, f, s = config.hidden_size, config.moe_intermediate_size, config.shared_expert_intermediate_size
    shapes = {"embed": (config.vocab_size, d)}
    for layer in range(config.num_hidden_layers):
        at = f"layers.{layer}."
        shapes |= {at + "qkv": (config.qkv_rows, d), at + "o": (d, config.attention_width)}
        if s:
            shapes |= {at + "shared.gate_up": (2 * s, d), at + "shared.down": (d, s)}
        for expert in range(config.num_experts):
            shapes |= {at + f"experts.{expert}.gate_up": (2 * f, d), at + f"experts.{expert}.down": (d, f)}
    return shapes


def float_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Every float32 tensor and its shape."""
    d, half = config.hidden_size, config.head_dim // 2
    shapes: dict[str, tuple[int, ...]] = {
        "norm": (d,),
        "rotary.cos": (config.max_position_embeddings, half),
        "rotary.sin": (config.max_position_embeddings, half),
    }
    for layer in range(config.num_hidden_layers):
        at = f"layers.{layer}."
        shapes |= {at + "attn_norm": (d,), at + "moe_norm": (d,)}
        if config.num_experts:
            shapes |= {at + "router.weight": (config.num_experts, d), at + "router.bias": (config.num_experts,)}
    return shapes


def serialize_quantized(model: Quantized) -> bytes:
    """The bytes of the model's file: the same model gives the same bytes."""
    tensors: dict[str, NDArray[np.generic]] = {}
    for name, matrix in model.matrices.items():
        tensors[name + ".q"], tensors[name + ".scale"] = np.ascontiguousarray(matrix.q), matrix.scale
        if matrix.group is not None:
            tensors[name + ".group"] = matrix.group
    for name, tensor in model.floats.items():
        tensors[name] = np.ascontiguousarray(tensor)
    description = {
        "format": _FORMAT,
        "version": _VERSION,
        "scheme": model.scheme,
        "source_sha256": model.source_sha256,
        "config": msgspec.to_builtins(model.config),
        "generation": msgspec.to_builtins(model.generation),
        "tokenizer": model.tokenizer,
    }
    # one metadata key: the library does not keep the order of several
    return bytes(save(tensors, metadata={"mmoe-embed": json.dumps(description, sort_keys=True)}))


def save_quantized(model: Quantized, file: Path) -> None:
    """Write the model's file; an interrupted write leaves no half file behind."""
    write_whole(file, serialize_quantized(model))


def load_quantized(file: Path) -> Quantized:
    """Read a model file.

    Raises:
        ToolkitError: no such file, not a quantized model, another version, or tensors that do not fit its config.
    """
    try:
        with safe_open(file, framework="numpy") as archive:
            text = (archive.metadata() or {}).get("mmoe-embed")
            if text is None:
                raise ToolkitError(
                    "this safetensors file is not a quantized model",
                    at=str(file),
                    try_="mmoe-embed quantize CHECKPOINT -o model.safetensors",
                )
            tensors = {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118 (not a dict)
    except FileNotFoundError:
        raise ToolkitError(
            "no such quantized model", at=str(file), try_="mmoe-embed quantize CHECKPOINT -o FILE"
        ) from None
    except SafetensorError as error:
        raise ToolkitError(f"not a safetensors file, or a damaged one: {error}", at=str(file)) from None
    description = parse_json(text.encode(), str(file))
    if (description.get("format"), description.get("version")) != (_FORMAT, _VERSION):
        raise ToolkitError(
            f"quantized model of version {description.get('version')}, this tool reads version {_VERSION}",
            at=str(file),
            try_="quantize the checkpoint again",
        )
    config = parse_config(json.dumps(description["config"]), str(file))
    generation = parse_generation(json.dumps(description["generation"]), config, str(file))
    matrices = {name: _take_matrix(tensors, name, shape, file) for name, shape in matrix_shapes(config).items()}
    floats = {name: _take(tensors, name, shape, np.float32, file) for name, shape in float_shapes(config).items()}
    return Quantized(
        config,
        generation,
        description["tokenizer"],
        description["scheme"],
        description["source_sha256"],
        matrices,
        floats,
    )


def _take(
    tensors: dict[str, NDArray[Any]], name: str, shape: tuple[int, ...], dtype: type[np.generic], file: Path
) -> NDArray[Any]:
    tensor = tensors.get(name)
    if tensor is None or tensor.shape != shape or tensor.dtype != dtype:
        found = "missing" if tensor is None else f"{tensor.dtype} {tensor.shape}"
        raise ToolkitError(f"tensor {name} should be {np.dtype(dtype)} {shape}, is {found}", at=str(file))
    return tensor


def _take_matrix(tensors: dict[str, NDArray[Any]], name: str, shape: tuple[int, int], file: Path) -> Matrix:
    rows, columns = shape
    group = None
    if name + ".group" in tensors:
        group = _take(tensors, name + ".group", (rows, -(-columns // GROUP)), np.uint8, file)
    q = _take(tensors, name + ".q", shape, np.int8, file)
    return Matrix(q, _take(tensors, name + ".scale", (rows,), np.float32, file), group)
