"""The quantized model: integers, scales and the few float tensors, in memory and as a file (SPEC.md 2)."""

import dataclasses
import functools
import hashlib
import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from mmoe_embed.config import GenerationConfig, ModelConfig, parse_config, parse_generation, parse_json
from mmoe_embed.errors import ToolkitError
from mmoe_embed.tensors import TensorFile, TensorKind, header_bytes, tensor_order
from mmoe_embed.whole_file import write_whole

GROUP = 32
SCHEMES = ("int8", "int4")
_FORMAT = "mmoe-embed quantized"
_VERSION = 1
_KEY = "mmoe-embed"  # of the metadata


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

    def part(self, start: int, end: int) -> "Matrix":
        """Some of the rows."""
        group = None if self.group is None else self.group[start:end]
        return Matrix(self.q[start:end], self.scale[start:end], group)

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
    tokenizer: str  # tokenizer.json; "" for a classifier
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
        digest = hashlib.sha256()
        for piece in serialize_quantized(self):
            digest.update(piece)
        return digest.hexdigest()


def matrix_shapes(config: ModelConfig) -> dict[str, tuple[int, int]]:
    """Every quantized matrix and its (rows, columns)."""
    d, f = config.hidden_size, config.moe_intermediate_size
    shapes = {"input": (d, config.window_size)} if config.is_classifier else {"embed": (config.vocab_size, d)}
    if not config.tie_word_embeddings:
        shapes["head"] = (config.vocab_size, d)
    for layer in range(config.num_hidden_layers):
        at = f"layers.{layer}."
        shapes |= {at + "qkv": (config.qkv_rows, d), at + "o": (d, config.attention_width)}
        if s := config.shared_width(layer):
            shapes |= {at + "shared.gate_up": (2 * s, d), at + "shared.down": (d, s)}
        for expert in range(config.experts_of(layer)):
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
    if config.is_classifier:
        channels = (config.input_channels,)
        shapes |= {"input_mean": channels, "input_gain": channels, "input_bias": (d,)}
    for layer in range(config.num_hidden_layers):
        at = f"layers.{layer}."
        shapes |= {at + "attn_norm": (d,), at + "moe_norm": (d,)}
        if config.attention_bias:
            shapes[at + "qkv_bias"] = (config.qkv_rows,)
        if config.pre_rotary_norm != "none":
            shapes |= {at + "q_norm": (config.query_norm_size,), at + "k_norm": (config.key_norm_size,)}
        if config.shared_expert_gate and layer not in config.dense_layers:
            shapes[at + "shared_gate"] = (d,)
        if config.experts_of(layer):
            shapes |= {at + "router.weight": (config.num_experts, d), at + "router.bias": (config.num_experts,)}
    return shapes


def tensor_kinds(config: ModelConfig, scheme: str) -> dict[str, TensorKind]:
    """Every tensor of a model's file: the parts of matrices, then what stays float32."""
    kinds: dict[str, TensorKind] = {}
    for name, shape in matrix_shapes(config).items():
        kinds |= {name + ".q": TensorKind("I8", shape), name + ".scale": TensorKind("F32", shape[:1])}
        if matrix_bits(name, scheme) == 4:
            kinds[name + ".group"] = TensorKind("U8", (shape[0], -(-shape[1] // GROUP)))
    return kinds | {name: TensorKind("F32", shape) for name, shape in float_shapes(config).items()}


def matrix_bits(name: str, scheme: str) -> int:
    """Bits of a matrix's weights: what is outside the layers is INT8 in every scheme."""
    return 4 if scheme == "int4" and name.startswith("layers.") else 8


def file_header(
    config: ModelConfig, generation: GenerationConfig, tokenizer: str, scheme: str, source_sha256: str
) -> bytes:
    """What a model's file begins with, after its length."""
    description = {
        "format": _FORMAT,
        "version": _VERSION,
        "scheme": scheme,
        "source_sha256": source_sha256,
        "config": config.to_dict(),
        "generation": msgspec.to_builtins(generation),
        "tokenizer": tokenizer,
    }
    # one metadata key: the library does not keep the order of several
    return header_bytes(tensor_kinds(config, scheme), {_KEY: json.dumps(description, sort_keys=True)})


def serialize_quantized(model: Quantized) -> Iterator[bytes | memoryview]:
    """The bytes of the model's file, piece by piece: the same model gives the same bytes."""
    header = file_header(model.config, model.generation, model.tokenizer, model.scheme, model.source_sha256)
    yield struct.pack("<Q", len(header)) + header
    for name in tensor_order(tensor_kinds(model.config, model.scheme)):
        owner, _, part = name.rpartition(".")
        array = getattr(model.matrices[owner], part) if owner in model.matrices else model.floats[name]
        yield np.ascontiguousarray(array).data


def save_quantized(model: Quantized, file: Path) -> None:
    """Write the model's file; an interrupted write leaves no half file behind."""
    write_whole(file, serialize_quantized(model))


def load_quantized(file: Path) -> Quantized:
    """Open a model file; its arrays lie in the file, mapped and not to be written to.

    Raises:
        ToolkitError: no such file, not a quantized model, another version, or tensors that do not fit its config.
    """
    if not file.is_file():
        raise ToolkitError("no such quantized model", at=str(file), try_="mmoe-embed quantize CHECKPOINT -o FILE")
    archive = TensorFile(file)
    text = archive.metadata.get(_KEY)
    if text is None:
        raise ToolkitError(
            "this safetensors file is not a quantized model",
            at=str(file),
            try_="mmoe-embed quantize CHECKPOINT -o model.safetensors",
        )
    description = parse_json(text.encode(), str(file))
    if (description.get("format"), description.get("version")) != (_FORMAT, _VERSION):
        raise ToolkitError(
            f"quantized model of version {description.get('version')}, this tool reads version {_VERSION}",
            at=str(file),
            try_="quantize the checkpoint again",
        )
    config = parse_config(json.dumps(description["config"]), str(file))
    generation = parse_generation(json.dumps(description["generation"]), config, str(file))
    _check_kinds(archive, tensor_kinds(config, description["scheme"]))
    arrays = archive.arrays()
    matrices = {
        name: Matrix(arrays[name + ".q"], arrays[name + ".scale"], arrays.get(name + ".group"))
        for name in matrix_shapes(config)
    }
    return Quantized(
        config,
        generation,
        description["tokenizer"],
        description["scheme"],
        description["source_sha256"],
        matrices,
        {name: arrays[name] for name in float_shapes(config)},
    )


def _check_kinds(archive: TensorFile, kinds: Mapping[str, TensorKind]) -> None:
    for name, kind in kinds.items():
        found = archive.kinds.get(name)
        if found != kind:
            what = f"{found.dtype} {found.shape}" if found else "missing"
            raise ToolkitError(f"tensor {name} should be {kind.dtype} {kind.shape}, is {what}", at=str(archive.file))
