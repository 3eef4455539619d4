"""The shape of a model: config.json and generation_config.json (SPEC.md 1)."""

import functools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from mmoe_embed.errors import ToolkitError

MAX_COLUMNS = 8192
MAX_ROWS = 1 << 20
MAX_NARROW_VOCABULARY = 0xFFFF  # token ids are 16 bits in the emitted tables, 32 bits in those of a larger vocabulary
MAX_CONTEXT = 8192
MAX_EXPERTS = 255
MAX_TOP_K = 16
MAX_LAYERS = 255
MAX_WINDOW = 256  # numbers: with the frame around them they are one request over serial
MAX_HEADS = 255
MAX_HEAD_DIM = 512
MAX_ROUTES = 515  # layers x experts a token: with their hit flags they are one reply over serial
_CONSTANTS = (1e-30, 1e9)  # positive in float32
_FRAMING = "shorten prefix_tokens and suffix_tokens, or raise max_position_embeddings"


class ModelConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Sizes and constants of a model; names as in config.json, and every default is MobileMoE's.

    `num_experts` 0 (with a shared expert) is a dense model; `shared_expert_intermediate_size` 0 means no shared expert.
    The vocabulary of a classifier are its classes.
    """

    model_type: Annotated[str, msgspec.Meta(pattern="^[a-z0-9_]+$")] = "mobilemoe"
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
    tie_word_embeddings: bool = True
    # where other families differ (SPEC.md 1, second table)
    router_score: Literal["sigmoid", "softmax"] = "sigmoid"
    norm_topk_prob: bool = True
    pre_rotary_norm: Literal["none", "head", "width"] = "none"
    attention_bias: bool = False
    shared_expert_gate: bool = False
    rotary_frequencies: list[float] = []
    dense_layers: list[int] = []
    dense_intermediate_size: int = 0
    # a classifier of windows (SPEC.md 3.8)
    task: Literal["language", "classify"] = "language"
    input_channels: int = 0
    input_frames: int = 0
    input_stride: int = 0
    class_names: list[str] = []

    @property
    def qkv_rows(self) -> int:
        """Rows of the joined query, key and value projection."""
        return (self.num_attention_heads + 2 * self.num_key_value_heads) * self.head_dim

    @property
    def attention_width(self) -> int:
        """Width of all query heads together."""
        return self.num_attention_heads * self.head_dim

    @property
    def key_width(self) -> int:
        """Width of all key heads together, and of all value heads."""
        return self.num_key_value_heads * self.head_dim

    @property
    def is_classifier(self) -> bool:
        """Whether it takes windows of a signal, not tokens."""
        return self.task == "classify"

    @property
    def window_size(self) -> int:
        """Numbers of a window; 0 for a language model."""
        return self.input_channels * self.input_frames

    @property
    def routed_layers(self) -> tuple[int, ...]:
        """Layers that have experts where the model has any; what is said of experts counts these alone."""
        return tuple(layer for layer in range(self.num_hidden_layers) if layer not in self.dense_layers)

    @property
    def expert_count(self) -> int:
        """Experts of the whole model."""
        return len(self.routed_layers) * self.num_experts

    def experts_of(self, layer: int) -> int:
        """Experts of one layer; 0: it has no router either."""
        return 0 if layer in self.dense_layers else self.num_experts

    def shared_width(self, layer: int) -> int:
        """Width of a layer's FFN that every token goes through; 0 for none."""
        return self.dense_intermediate_size if layer in self.dense_layers else self.shared_expert_intermediate_size

    @property
    def query_norm_size(self) -> int:
        """Queries that are normed together before rotary; 0 for none."""
        return {"none": 0, "head": self.head_dim, "width": self.attention_width}[self.pre_rotary_norm]

    @property
    def key_norm_size(self) -> int:
        """Keys that are normed together before rotary; 0 for none."""
        return {"none": 0, "head": self.head_dim, "width": self.key_width}[self.pre_rotary_norm]

    def to_dict(self) -> dict[str, Any]:
        """The object of config.json: keys that MobileMoE has no use for are there only where they differ from it."""
        values: dict[str, Any] = msgspec.to_builtins(self)
        defaults = _family_defaults()
        return {name: value for name, value in values.items() if name not in defaults or value != defaults[name]}

    def to_json(self) -> str:
        """The config.json text, one key a line."""
        return json.dumps(self.to_dict(), indent=2) + "\n"


@functools.cache
def _family_defaults() -> dict[str, Any]:
    """Keys of SPEC.md 1's second table and their defaults."""
    fields = msgspec.structs.fields(ModelConfig)
    first = [field.name for field in fields].index("tie_word_embeddings") + 1
    return {f.name: f.default_factory() if f.default is msgspec.NODEFAULT else f.default for f in fields[first:]}


class GenerationConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What frames a request and ends an answer; token ids. A classifier has neither: `NO_GENERATION`."""

    prefix_tokens: list[int] = []
    suffix_tokens: list[int] = []
    stop_token: int
    max_new_tokens: int

    def to_json(self) -> str:
        """The generation_config.json text."""
        return json.dumps(msgspec.to_builtins(self), indent=2) + "\n"


NO_GENERATION = GenerationConfig(stop_token=0, max_new_tokens=1)

_Settings = TypeVar("_Settings", ModelConfig, GenerationConfig)


def _parse(text: str | bytes, kind: type[_Settings], at: str) -> _Settings:
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
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


def decode_generation(text: str | bytes, at: str) -> GenerationConfig:
    """Read a generation_config.json whose model was checked with it before.

    Raises:
        ToolkitError: not JSON, a key is unknown, missing or of the wrong type.
    """
    return _parse(text, GenerationConfig, at)


def parse_generation(text: str | bytes, config: ModelConfig, at: str) -> GenerationConfig:
    """Read and check a generation_config.json against the model it is for."""
    generation = decode_generation(text, at)
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
        "vocab_size": (2, MAX_ROWS),
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
        routes = len(config.routed_layers) * top_k
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
    _check_family(config, require)
    _check_classifier(config, require)
    least, limit = _CONSTANTS
    for name in ("rope_theta", "rms_norm_eps", "routed_scaling_factor"):
        value = getattr(config, name)
        require(least <= value < limit, f"{name} must be {least}..{limit}, is {value}", "the value it was trained with")


def _check_classifier(config: ModelConfig, require: Callable[[bool, str, str], None]) -> None:
    names, window = config.class_names, config.window_size
    if not config.is_classifier:
        unused = config.input_channels or config.input_frames or config.input_stride or names
        require(not unused, "input_channels and the like, and class_names, are of a classifier", 'task "classify"')
        return
    require(len(names) == config.vocab_size, f"{len(names)} class_names, vocab_size is {config.vocab_size}", "as many")
    require(not config.tie_word_embeddings, "a classifier has no embedding to tie", '"tie_word_embeddings": false')
    require(
        config.input_channels >= 1 and config.input_frames >= 1 and window <= MAX_WINDOW,
        f"input_channels x input_frames must be 1..{MAX_WINDOW}, are {config.input_channels} x {config.input_frames}",
        "shorter windows, or fewer channels",
    )
    require(config.input_stride >= 1, f"input_stride must be 1 or more, is {config.input_stride}", "frames to go on by")


def _check_family(config: ModelConfig, require: Callable[[bool, str, str], None]) -> None:
    """SPEC.md 1's second table."""
    shared = config.shared_expert_intermediate_size
    require(not config.shared_expert_gate or shared > 0, "shared_expert_gate needs a shared expert", "false")
    count, half = len(config.rotary_frequencies), config.head_dim // 2
    require(count in (0, half), f"rotary_frequencies must be head_dim / 2 = {half} numbers, are {count}", "[]")
    for frequency in config.rotary_frequencies:
        require(0 <= frequency <= math.pi, f"rotary_frequencies must be 0..pi, one is {frequency}", "[]")
    layers, width = config.dense_layers, config.dense_intermediate_size
    if not layers:
        require(width == 0, f"dense_intermediate_size must be 0 without dense_layers, is {width}", "0")
        return
    require(config.num_experts > 0, "dense_layers must be empty where num_experts is 0: all are dense then", "[]")
    require(
        layers == sorted(set(layers)) and layers[0] >= 0 and layers[-1] < config.num_hidden_layers,
        f"dense_layers must be rising and within 0..{config.num_hidden_layers - 1}, are {layers}",
        "numbers of layers, from 0",
    )
    require(len(config.routed_layers) > 0, "dense_layers are all layers", "num_experts 0 is a dense model")
    require(
        1 <= width <= MAX_COLUMNS,
        f"dense_intermediate_size must be 1..{MAX_COLUMNS} with dense_layers, is {width}",
        "the width of the layers that have no experts",
    )


def parse_json(text: bytes, at: str) -> dict[str, Any]:
    """Parse a JSON object; a syntax error names the file."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ToolkitError(f"not valid JSON: {error}", at=at, try_="write or copy the file again") from None
    if not isinstance(value, dict):
        raise ToolkitError("a JSON object is expected", at=at, try_='the file begins with "{"')
    return value
