"""The shape of a model: config.json and generation_config.json (SPEC.md 1)."""

import json
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from mmoe_embed.errors import ToolkitError

MAX_COLUMNS = 8192
MAX_ROWS = 1 << 20
MAX_CONTEXT = 8192
MAX_EXPERTS = 255
MAX_TOP_K = 16
MAX_VOCABULARY = 0xFFFF  # token ids are 16 bits in the emitted tables
MAX_LAYERS = 255
MAX_HEADS = 255
MAX_HEAD_DIM = 512
MAX_ROUTES = 515  # layers x experts a token: with their hit flags they are one reply over serial
_CONSTANTS = (1e-30, 1e9)  # positive in float32
_FRAMING = "shorten prefix_tokens and suffix_tokens, or raise max_position_embeddings"


class ModelConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Sizes and constants of a MobileMoE-shaped model; names as in config.json.

    `num_experts` 0 (with a shared expert) is a dense model; `shared_expert_intermediate_size` 0 means no shared expert.
    """

    model_type: Literal["mobilemoe"] = "mobilemoe"
    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    num_experts: int
    num_experts_per_tok: int
    moe_intermediate_size: int
    shared_expert_intermediate_size: int
    rope_theta: float = 10000.0
    rms_norm_eps: float = 1e-5
    routed_scaling_factor: float = 2.5
    max_position_embeddings: int
    qk_norm: bool = True
    tie_word_embeddings: Literal[True] = True

    @property
    def qkv_rows(self) -> int:
        """Rows of the joined query, key and value projection."""
        return (self.num_attention_heads + 2 * self.num_key_value_heads) * self.head_dim

    @property
    def attention_width(self) -> int:
        """Width of all query heads together."""
        return self.num_attention_heads * self.head_dim

    def to_json(self) -> str:
        """The config.json text, one key a line."""
        return json.dumps(msgspec.to_builtins(self), indent=2) + "\n"


class GenerationConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What frames a request and ends an answer; token ids."""

    prefix_tokens: list[int] = []
    suffix_tokens: list[int] = []
    stop_token: int
    max_new_tokens: int

    def to_json(self) -> str:
        """The generation_config.json text."""
        return json.dumps(msgspec.to_builtins(self), indent=2) + "\n"


_Settings = TypeVar("_Settings", ModelConfig, GenerationConfig)


def _parse(text: str | bytes, kind: type[_Settings], at: str) -> _Settings:
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.DecodeError as error:
        raise ToolkitError(
            f"not a valid {kind.__name__}: {error}", at=at, try_="compare with examples/watch/checkpoint"
        ) from None


def parse_config(text: str | bytes, at: str) -> ModelConfig:
    """Read and check a config.json.

    Raises:
        ToolkitError: not JSON, a key is unknown, missing, of the wrong type or out of range.
    """
    config = _parse(text, ModelConfig, at)
    _check_config(config, at)
    return config


def parse_generation(text: str | bytes, config: ModelConfig, at: str) -> GenerationConfig:
    """Read and check a generation_config.json against the model it is for."""
    generation = _parse(text, GenerationConfig, at)
    for name in ("prefix_tokens", "suffix_tokens"):
        for token in getattr(generation, name):
            if not 0 <= token < config.vocab_size:
                raise ToolkitError(
                    f"{name} holds token {token}, the vocabulary has {config.vocab_size}",
                    at=at,
                    try_=f"ids of tokenizer.json, 0..{config.vocab_size - 1}",
                )
    framing = len(generation.prefix_tokens) + len(generation.suffix_tokens)
    if framing >= config.max_position_embeddings:
        raise ToolkitError(
            f"prefix and suffix are {framing} tokens, the context is {config.max_position_embeddings}",
            at=at,
            try_=_FRAMING,
        )
    if not 0 <= generation.stop_token < config.vocab_size:
        raise ToolkitError(
            f"stop_token {generation.stop_token} is outside the vocabulary of {config.vocab_size}",
            at=at,
            try_=f"an id of tokenizer.json, 0..{config.vocab_size - 1}",
        )
    if not 1 <= generation.max_new_tokens <= config.max_position_embeddings:
        raise ToolkitError(
            f"max_new_tokens must be 1..{config.max_position_embeddings}, is {generation.max_new_tokens}",
            at=at,
            try_="at most max_position_embeddings of config.json",
        )
    return generation


def load_config(path: Path) -> ModelConfig:
    """Read `config.json` (a file, or the folder it lies in)."""
    file = path / "config.json" if path.is_dir() else path
    return parse_config(read_bytes(file), str(file))


def read_bytes(file: Path) -> bytes:
    """Read a whole file; a missing one is the user's to mend, by name."""
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise ToolkitError(
            f"no file {file.name} in {file.parent}",
            at=str(file),
            try_="a checkpoint folder holds config.json, model.safetensors, tokenizer.json and generation_config.json",
        ) from None


def _check_config(config: ModelConfig, at: str) -> None:
    def require(ok: bool, message: str, try_: str) -> None:
        if not ok:
            raise ToolkitError(message, at=at, try_=try_)

    ranges: dict[str, tuple[int, int]] = {
        "vocab_size": (2, MAX_VOCABULARY),
        "hidden_size": (1, MAX_COLUMNS),
        "num_hidden_layers": (1, MAX_LAYERS),
        "num_attention_heads": (1, MAX_HEADS),
        "num_key_value_heads": (1, config.num_attention_heads),
        "head_dim": (2, MAX_HEAD_DIM),
        "num_experts": (0, MAX_EXPERTS),
        "num_experts_per_tok": (0, MAX_TOP_K),
        "moe_intermediate_size": (0, MAX_COLUMNS),
        "shared_expert_intermediate_size": (0, MAX_COLUMNS),
        "max_position_embeddings": (1, MAX_CONTEXT),
    }
    for name, (low, high) in ranges.items():
        value = getattr(config, name)
        require(low <= value <= high, f"{name} must be {low}..{high}, is {value}", "a model inside SPEC.md 1's limits")
    heads, kv_heads, width = config.num_attention_heads, config.num_key_value_heads, config.attention_width
    require(
        heads % kv_heads == 0,
        f"num_key_value_heads {kv_heads} does not divide num_attention_heads {heads}",
        f"one of {', '.join(str(n) for n in range(1, heads + 1) if heads % n == 0)}",
    )
    require(config.head_dim % 2 == 0, f"head_dim must be even, is {config.head_dim}", "rotary turns pairs of it")
    require(width <= MAX_COLUMNS, f"heads x head_dim is {width}, at most {MAX_COLUMNS}", "fewer or smaller heads")
    experts, top_k = config.num_experts, config.num_experts_per_tok
    if experts:
        message = f"num_experts_per_tok must be 1..num_experts = {experts}, is {top_k}"
        require(1 <= top_k <= experts, message, "the number it was trained with")
        routes = config.num_hidden_layers * top_k
        require(
            routes <= MAX_ROUTES,
            f"layers x experts a token are {routes}, at most {MAX_ROUTES}",
            "fewer num_hidden_layers or a smaller num_experts_per_tok",
        )
        require(
            config.moe_intermediate_size >= 1,
            "moe_intermediate_size must be at least 1 where there are experts",
            "the width of an expert, or num_experts 0",
        )
    else:
        require(top_k == 0, "num_experts_per_tok must be 0 where num_experts is 0", '"num_experts_per_tok": 0')
        require(
            config.shared_expert_intermediate_size >= 1,
            "a model without experts needs a shared expert",
            "shared_expert_intermediate_size: the width of its feed-forward layers",
        )
    least, limit = _CONSTANTS
    for name in ("rope_theta", "rms_norm_eps", "routed_scaling_factor"):
        value = getattr(config, name)
        require(least <= value < limit, f"{name} must be {least}..{limit}, is {value}", "the value it was trained with")


def parse_json(text: bytes, at: str) -> dict[str, Any]:
    """Parse a JSON object; a syntax error names the file."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ToolkitError(f"not valid JSON: {error}", at=at, try_="write or copy the file again") from None
    if not isinstance(value, dict):
        raise ToolkitError("a JSON object is expected", at=at, try_='the file begins with "{"')
    return value
