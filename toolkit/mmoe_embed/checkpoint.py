"""Reading a float checkpoint: every tensor there, of the right shape, finite and of usable size (SPEC.md 1)."""

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmoe_embed.config import (
    NO_GENERATION,
    GenerationConfig,
    ModelConfig,
    load_config,
    parse_generation,
    read_bytes,
)
from mmoe_embed.errors import ToolkitError
from mmoe_embed.tensors import TensorFile, widen
from mmoe_embed.tokens import Tokens

Floats = NDArray[np.float32]
DTYPES = ("F32", "F16", "BF16")
WEIGHT_LIMIT = 2.0**40  # magnitude: with it no sum of SPEC.md 3 can overflow unseen


class CheckpointTensors(Mapping[str, Floats]):
    """Tensors of a file as float32, each read anew when it is asked for, and nothing kept.

    Args:
        file: holds these tensors and no others.
        shapes: of `tensor_shapes`.

    Raises:
        ToolkitError: the file is missing, unreadable or not safetensors; a tensor is missing, unexpected, or of the
            wrong shape or type; when one is read: it holds a value that is not finite or too large.
    """

    def __init__(self, file: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._file = TensorFile(file)
        _check_kinds(self._file, shapes)

    def __getitem__(self, name: str) -> Floats:
        return self.part(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._file.kinds)

    def __len__(self) -> int:
        return len(self._file.kinds)

    def part(self, name: str, index: int | None = None) -> Floats:
        """One entry of a tensor's first axis, without reading the others; all of it for None."""
        array = self._file.array(name)
        values = widen(array if index is None else array[index], self._file.kinds[name].dtype)
        # NaN is a largest and a smallest one, and neither below nor above anything
        if not (values.max(initial=0) < WEIGHT_LIMIT and values.min(initial=0) > -WEIGHT_LIMIT):
            place = tuple(int(i) for i in np.argwhere(~(np.abs(values) < WEIGHT_LIMIT))[0])
            raise ToolkitError(
                f"tensor {name} holds {values[place]} at {place if index is None else (index, *place)}; "
                "the limit is 2^40 in magnitude",
                at=str(self._file.file),
                try_="train again or drop the run",
            )
        return values


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A float model; its tensors lie in their file."""

    config: ModelConfig
    generation: GenerationConfig
    tokenizer: str  # tokenizer.json; "" for a classifier
    tensors: CheckpointTensors
    sha256: str  # of model.safetensors


def tensor_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Every tensor of a checkpoint and its shape, SPEC.md 1."""
    d, f, experts = config.hidden_size, config.moe_intermediate_size, config.num_experts
    queries, keys = config.attention_width, config.key_width
    shapes: dict[str, tuple[int, ...]] = {}
    if config.is_classifier:
        channels = (config.input_channels,)
        shapes |= {"input.mean": channels, "input.gain": channels}
        shapes |= {"input.proj.weight": (d, config.window_size), "input.proj.bias": (d,)}
    else:
        shapes["embed_tokens.weight"] = (config.vocab_size, d)
    shapes["norm.weight"] = (d,)
    if not config.tie_word_embeddings:
        shapes["lm_head.weight"] = (config.vocab_size, d)
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
        if config.attention_bias:
            shapes |= {at + f"attn.{x}_proj.bias": (keys if x != "q" else queries,) for x in "qkv"}
        if config.pre_rotary_norm != "none":
            shapes[at + "attn.q_norm.weight"] = (config.query_norm_size,)
            shapes[at + "attn.k_norm.weight"] = (config.key_norm_size,)
        if config.experts_of(layer):
            shapes |= {
                at + "moe.router.weight": (experts, d),
                at + "moe.router.bias": (experts,),
                at + "moe.experts.gate_proj": (experts, f, d),
                at + "moe.experts.up_proj": (experts, f, d),
                at + "moe.experts.down_proj": (experts, d, f),
            }
        if s := config.shared_width(layer):
            shapes |= {
                at + "moe.shared.gate_proj.weight": (s, d),
                at + "moe.shared.up_proj.weight": (s, d),
                at + "moe.shared.down_proj.weight": (d, s),
            }
        if config.shared_expert_gate and layer not in config.dense_layers:
            shapes[at + "moe.shared_gate.weight"] = (1, d)
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
    """Open and check a checkpoint folder; its tensors are read when they are asked for.

    Raises:
        ToolkitError: a file is missing, unreadable or not safetensors; a tensor is missing, unexpected, of the wrong
            shape or type; the tokenizer cannot be read.
    """
    folder = checkpoint_folder(path)
    config = load_config(folder)
    generation, tokenizer = (NO_GENERATION, "") if config.is_classifier else _read_text_side(folder, config)
    weights = folder / "model.safetensors"
    if not weights.exists():
        pickles = sorted(p.name for p in folder.iterdir() if p.suffix in (".pt", ".pth", ".bin", ".ckpt", ".pkl"))
        hint = (
            f"{pickles[0]} is a pickle, which can run code when loaded: convert it with safetensors.torch.save_file"
            if pickles
            else "save the state dict with safetensors.torch.save_file"
        )
        raise ToolkitError(f"no file model.safetensors in {folder}", at=str(weights), try_=hint)
    tensors = CheckpointTensors(weights, tensor_shapes(config))
    with weights.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    return Checkpoint(config, generation, tokenizer, tensors, sha256)


def _read_text_side(folder: Path, config: ModelConfig) -> tuple[GenerationConfig, str]:
    """Framing and tokenizer of a language model."""
    file = folder / "generation_config.json"
    generation = parse_generation(read_bytes(file), config, str(file))
    tokenizer = read_bytes(folder / "tokenizer.json").decode("utf-8", "replace")
    Tokens(tokenizer)
    return generation, tokenizer


def _check_kinds(file: TensorFile, shapes: Mapping[str, tuple[int, ...]]) -> None:
    at = str(file.file)
    if missing := sorted(shapes.keys() - file.kinds.keys()):
        raise ToolkitError(
            f"tensor {missing[0]} is missing ({len(missing)} in all)",
            at=at,
            try_="compare config.json with the model that was trained",
        )
    if extra := sorted(file.kinds.keys() - shapes.keys()):
        raise ToolkitError(
            f"unexpected tensor {extra[0]} ({len(extra)} in all)",
            at=at,
            try_="compare config.json with the model that was trained, or delete the tensor",
        )
    for name, shape in shapes.items():
        kind = file.kinds[name]
        if kind.shape != shape:
            raise ToolkitError(f"tensor {name} has shape {kind.shape}, config.json asks for {shape}", at=at)
        if kind.dtype not in DTYPES:
            raise ToolkitError(f"tensor {name} is {kind.dtype}; supported: {', '.join(DTYPES)}", at=at)
