"""Reading a float checkpoint: every tensor there, of the right shape, finite and of usable size (SPEC.md 1)."""

import dataclasses
import hashlib
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from mmoe_embed.config import (
    GenerationConfig,
    ModelConfig,
    load_config,
    parse_generation,
    parse_json,
    read_bytes,
)
from mmoe_embed.errors import ToolkitError
from mmoe_embed.tokens import build_tables

Floats = NDArray[np.float32]
_DTYPES = ("F32", "F16", "BF16")
WEIGHT_LIMIT = 2.0**40  # magnitude: with it no sum of SPEC.md 3 can overflow unseen


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A float model in memory, every tensor float32."""

    config: ModelConfig
    generation: GenerationConfig
    tokenizer: str  # tokenizer.json
    tensors: Mapping[str, Floats]
    sha256: str  # of model.safetensors


def tensor_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Every tensor of a checkpoint and its shape, SPEC.md 1."""
    d, f, s, experts = (
        config.hidden_size,
        config.moe_intermediate_size,
        config.shared_expert_intermediate_size,
        config.num_experts,
    )
    queries, keys = config.attention_width, config.num_key_value_heads * config.head_dim
    shapes: dict[str, tuple[int, ...]] = {"embed_tokens.weight": (config.vocab_size, d), "norm.weight": (d,)}
    for layer in range(config.num_hidden_layers):
        at = f"layers.{layer}."
        shapes |= {
            at + "attn_norm.weight": (d,),
            at + "moe_norm.weight": (d,),
            at + "attn.q_proj.weight": (queries, d),
            at + "attn.k_proj.weight": (keys, d),
            at + "attn.v_proj.weight": (keys, d),
            at + "attn.o_proj.weight": (d, queries),
        }
        if experts:
            shapes |= {
                at + "moe.router.weight": (experts, d),
                at + "moe.router.bias": (experts,),
                at + "moe.experts.gate_proj": (experts, f, d),
                at + "moe.experts.up_proj": (experts, f, d),
                at + "moe.experts.down_proj": (experts, d, f),
            }
        if s:
            shapes |= {
                at + "moe.shared.gate_proj.weight": (s, d),
                at + "moe.shared.up_proj.weight": (s, d),
                at + "moe.shared.down_proj.weight": (d, s),
            }
    return shapes


def checkpoint_folder(path: Path) -> Path:
    """The folder that holds config.json: the path itself, or its `checkpoint` folder (an example, a training run).

    Raises:
        ToolkitError: neither holds a config.json.
    """
    for folder in (path, path / "checkpoint"):
        if (folder / "config.json").is_file():
            return folder
    what = "no such folder" if not path.exists() else "no config.json in it"
    raise ToolkitError(
        f"{path} is not a checkpoint: {what}",
        at=str(path),
        try_="give a folder with config.json, model.safetensors, tokenizer.json and generation_config.json",
    )


def load_checkpoint(path: Path) -> Checkpoint:
    """Load and check a checkpoint folder.

    Raises:
        ToolkitError: a file is missing, unreadable or not safetensors; a tensor is missing, unexpected, of the wrong
            shape or type, or holds a value that is not finite or too large; the tokenizer does not fit the model.
    """
    folder = checkpoint_folder(path)
    config = load_config(folder)
    generation_file = folder / "generation_config.json"
    generation = parse_generation(read_bytes(generation_file), config, str(generation_file))
    tokenizer = read_bytes(folder / "tokenizer.json").decode("utf-8", "replace")
    _check_tokenizer(tokenizer, config, str(folder / "tokenizer.json"))
    weights = folder / "model.safetensors"
    if not weights.exists():
        pickles = sorted(p.name for p in folder.iterdir() if p.suffix in (".pt", ".pth", ".bin", ".ckpt", ".pkl"))
        hint = (
            f"{pickles[0]} is a pickle, which can run code when loaded: convert it with safetensors.torch.save_file"
            if pickles
            else "save the state dict with safetensors.torch.save_file"
        )
        raise ToolkitError(f"no file model.safetensors in {folder}", at=str(weights), try_=hint)
    tensors = _read_tensors(weights, tensor_shapes(config))
    return Checkpoint(config, generation, tokenizer, tensors, hashlib.sha256(weights.read_bytes()).hexdigest())


def _check_tokenizer(text: str, config: ModelConfig, at: str) -> None:
    parse_json(text.encode(), at)
    build_tables(text, config.vocab_size)


def _read_tensors(file: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Floats]:
    _refuse_pickle(file)
    try:
        with safe_open(file, framework="numpy") as archive:
            names = set(archive.keys())
            if missing := sorted(shapes.keys() - names):
                raise ToolkitError(
                    f"tensor {missing[0]} is missing ({len(missing)} in all)",
                    at=str(file),
                    try_="compare config.json with the model that was trained",
                )
            if extra := sorted(names - shapes.keys()):
                raise ToolkitError(
                    f"unexpected tensor {extra[0]} ({len(extra)} in all)",
                    at=str(file),
                    try_="compare config.json with the model that was trained, or delete the tensor",
                )
            tensors = {}
            for name, shape in shapes.items():
                view = archive.get_slice(name)
                found = tuple(view.get_shape())
                if found != shape:
                    raise ToolkitError(f"tensor {name} has shape {found}, config.json asks for {shape}", at=str(file))
                if view.get_dtype() not in _DTYPES:
                    raise ToolkitError(
                        f"tensor {name} is {view.get_dtype()}; supported: {', '.join(_DTYPES)}", at=str(file)
                    )
                tensors[name] = _as_float32(archive, file, name, view.get_dtype(), shape)
    except SafetensorError as error:
        raise ToolkitError(f"not a safetensors file, or a damaged one: {error}", at=str(file)) from None
    for name, tensor in tensors.items():
        usable = np.abs(tensor) < WEIGHT_LIMIT  # NaN is not below anything
        if not usable.all():
            place = tuple(int(i) for i in np.argwhere(~usable)[0])
            raise ToolkitError(
                f"tensor {name} holds {tensor[place]} at {place}; the limit is 2^40 in magnitude",
                at=str(file),
                try_="train again or drop the run",
            )
    return tensors


def _as_float32(archive: safe_open, file: Path, name: str, dtype: str, shape: tuple[int, ...]) -> Floats:
    if dtype != "BF16":
        return np.asarray(archive.get_tensor(name), dtype=np.float32)  # type: ignore[no-untyped-call]
    # numpy has no bfloat16: take the bytes and widen them, a bfloat16 is the upper half of a float32
    with file.open("rb") as stream:
        header_bytes = struct.unpack("<Q", stream.read(8))[0]
        begin, end = parse_json(stream.read(header_bytes), str(file))[name]["data_offsets"]
        stream.seek(8 + header_bytes + begin)
        halves = np.frombuffer(stream.read(end - begin), dtype="<u2")
    return (halves.astype(np.uint32) << 16).view(np.float32).reshape(shape)


def _refuse_pickle(file: Path) -> None:
    with file.open("rb") as stream:
        start = stream.read(4)
    if start[:2] in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        raise ToolkitError(
            "this is a pickle or a PyTorch archive under another name; only safetensors is loaded",
            at=str(file),
            try_="a pickle can run code when loaded: convert it with safetensors.torch.save_file",
        )
