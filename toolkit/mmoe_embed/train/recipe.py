"""The recipe of a training run: a TOML file with every setting, checked key by key."""

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from mmoe_embed.config import ModelConfig, parse_config
from mmoe_embed.errors import ToolkitError

Positive = Annotated[int, Meta(ge=1)]
Parallel = Literal["data", "expert", "sharded"]
Rate = Annotated[float, Meta(ge=0, le=1)]


class DataSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where examples come from; JSONL files with `prompt` and `completion`, relative to the recipe.

    A classifier's are safetensors files (`mmoe_embed.signals.read_signals`).
    """

    train: str
    evaluate: str = ""  # exact match is reported on it at the end of each stage
    make: str = ""  # the command that writes `train`, shown when the file is missing


class SourceSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Documents that stages mix: text files, JSONL files, or a Hugging Face dataset directory."""

    name: Annotated[str, Meta(pattern="^[a-z0-9-]+$")]
    path: list[str]  # files, glob patterns or dataset directories, relative to the recipe
    field: str = "text"  # of a JSON object or a dataset row; rows with prompt and completion instead are requests
    held_out: Annotated[float, Meta(ge=0, lt=1)] = 0.01  # share of the documents that is never trained on
    make: str = ""  # the command that writes the files, shown when they are missing


class TokenizerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the tokenizer is learned."""

    vocab_size: Annotated[int, Meta(ge=260, le=65535)]
    lines: Positive = 100_000  # the first lines or documents of the training data, which it is learned from
    merges: Literal["letters", "all"] = "letters"  # "letters": digits and punctuation stay single bytes


class StageSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One stage of training, each starting from the weights of the one before."""

    name: Annotated[str, Meta(pattern="^[a-z0-9-]+$")]
    scheme: Literal["float", "int8", "int4"] = "float"  # round in the forward pass as this scheme will
    steps: Annotated[int, Meta(ge=0)] = 0
    tokens: Annotated[int, Meta(ge=0)] = 0  # instead of steps, where there is a mix
    batch: Positive = 64  # examples or rows a step
    mix: dict[str, Annotated[float, Meta(gt=0)]] = {}  # source name: weight; without it, the examples of [data]
    context: Annotated[int, Meta(ge=0)] = 0  # tokens of a packed row; max_position_embeddings when 0
    capacity: Annotated[float, Meta(ge=0)] = 0.0  # an expert takes at most this times its even share; 0 drops none
    evaluate_every: Annotated[int, Meta(ge=0)] = 0  # steps between held-out evaluations; 0 only at the stage's end
    learning_rate: Annotated[float, Meta(gt=0, le=1)]
    warmup: Annotated[int, Meta(ge=0)] = 0  # steps
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    final_rate: Rate = 0.0  # share of learning_rate at the last step
    weight_decay: Rate = 0.05
    betas: tuple[float, float] = (0.9, 0.98)
    clip: Annotated[float, Meta(gt=0)] = 1.0  # largest gradient norm
    z_loss: Rate = 1e-4
    balance_rate: Rate = 1e-3
    locality: Rate = 0.0  # weight of the experts that a block of tokens needs (`train/locality.py`); 0: not looked at
    locality_block: Annotated[int, Meta(ge=2)] = 8  # tokens
    prompt_weight: Rate = 0.0  # weight of the loss on the request's own tokens

    @property
    def rounding(self) -> str | None:
        """The scheme as the forward pass takes it."""
        return None if self.scheme == "float" else self.scheme

    def row_tokens(self, config: ModelConfig) -> int:
        """Tokens of one packed row."""
        return self.context or config.max_position_embeddings

    def step_count(self, config: ModelConfig) -> int:
        """Optimizer steps."""
        return self.steps or -(-self.tokens // (self.batch * self.row_tokens(config)))


class GenerationSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How long an answer may be."""

    max_new_tokens: Positive = 32


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A training run."""

    seed: Annotated[int, Meta(ge=0)] = 0
    threads: Positive = 2  # part of the recipe: float sums, and so the weights, depend on it
    parallel: Parallel = "data"  # under torchrun: share out the rows; also the experts; or every tensor
    log_every: Positive = 50  # steps a row of metrics.csv
    save_every: Positive = 500  # steps between resumable states
    start: str = ""  # a checkpoint folder, relative to the recipe: its weights and tokenizer instead of drawn ones
    data: DataSettings | None = None
    source: list[SourceSettings] = []
    tokenizer: TokenizerSettings | None = None  # of a language model
    model: dict[str, Any]  # config.json's keys, without vocab_size
    generation: GenerationSettings = GenerationSettings()
    stage: Annotated[list[StageSettings], Meta(min_length=1)]

    def model_config(self, at: str = "recipe") -> ModelConfig:
        """The model's config, vocabulary from the tokenizer or the names of classes."""
        if "vocab_size" in self.model:
            raise ToolkitError(
                "vocab_size is the tokenizer's", at=f"{at}, model.vocab_size", try_="set tokenizer.vocab_size"
            )
        model = {"num_experts_per_tok": 0, "moe_intermediate_size": 0} if self.model.get("num_experts") == 0 else {}
        if self.model.get("task") == "classify":
            if self.tokenizer:
                raise ToolkitError("a classifier has no tokenizer", at=f"{at}, tokenizer", try_="leave the table out")
            names = self.model.get("class_names")
            model |= {"tie_word_embeddings": False, "vocab_size": len(names) if isinstance(names, list) else 0}
        elif self.tokenizer:
            model |= {"vocab_size": self.tokenizer.vocab_size}
        else:
            raise ToolkitError("a language model needs a tokenizer", at=f"{at}, tokenizer", try_="add [tokenizer]")
        return parse_config(msgspec.json.encode(model | self.model), f"{at}, [model]")


def load_recipe(file: Path) -> Recipe:
    """Read and check a recipe.

    Raises:
        ToolkitError: no such file, not TOML, or a key is unknown, missing, of the wrong type or out of range.
    """
    try:
        table = tomllib.loads(file.read_text("utf-8"))
    except (FileNotFoundError, IsADirectoryError):
        raise ToolkitError(
            f"no recipe {file}", at=str(file), try_="mmoe-embed train examples/watch/recipe.toml -o DIR"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ToolkitError(f"not valid TOML: {error}", at=str(file)) from None
    return parse_recipe(table, str(file))


def parse_recipe(table: dict[str, Any], at: str) -> Recipe:
    """Check the tables of a recipe; `at` is their file, for errors.

    Raises:
        ToolkitError: a key is unknown, missing, of the wrong type or out of range.
    """
    try:
        recipe = msgspec.convert(table, Recipe)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        path = path.strip("`.")
        unknown = re.search(r"unknown field `(\w+)`", message)
        if unknown:
            path = f"{path}.{unknown[1]}".strip(".")
        raise ToolkitError(
            message.replace("Object ", "it ").replace("`", "'"),
            at=f"{at}, {path or 'top level'}",
            try_=f"supported keys there: {', '.join(_keys_at(path))}",
        ) from None
    for kind, entries in (("stage", recipe.stage), ("source", recipe.source)):
        names = [entry.name for entry in entries]
        if len(set(names)) != len(names):
            raise ToolkitError(f"two {kind}s have one name: {', '.join(names)}", at=f"{at}, {kind}.name")
    config = recipe.model_config(at)
    if config.is_classifier and (recipe.source or recipe.data is None):
        raise ToolkitError(
            "a classifier is trained on the signals of [data]",
            at=f"{at}, data",
            try_="give data.train, and no [[source]]",
        )
    for number, stage in enumerate(recipe.stage):
        _check_stage(recipe, stage, config.max_position_embeddings, f"{at}, stage[{number}]")
    return recipe


def _check_stage(recipe: Recipe, stage: StageSettings, longest: int, at: str) -> None:
    if bool(stage.steps) == bool(stage.tokens):
        raise ToolkitError("a stage has either steps or tokens", at=f"{at}.steps")
    if stage.context > longest:
        raise ToolkitError(
            f"context is {stage.context}, max_position_embeddings is {longest}",
            at=f"{at}.context",
            try_="shorten the context, or raise max_position_embeddings",
        )
    if stage.mix:
        unknown = sorted(stage.mix.keys() - {source.name for source in recipe.source})
        if unknown:
            raise ToolkitError(f"no source is named {', '.join(unknown)}", at=f"{at}.mix", try_="add a [[source]]")
    elif recipe.data is None:
        raise ToolkitError("nothing to train on", at=f"{at}.mix", try_="give the stage a mix, or the recipe a [data]")
    elif stage.tokens or stage.context:
        raise ToolkitError("tokens and context are of packed rows", at=f"{at}.mix", try_="give steps, or a mix")


def _keys_at(path: str) -> list[str]:
    tables: dict[str, type[msgspec.Struct]] = {
        "data": DataSettings,
        "source": SourceSettings,
        "tokenizer": TokenizerSettings,
        "stage": StageSettings,
        "generation": GenerationSettings,
    }
    head = re.split(r"[.\[]", path)[0]
    return list(tables.get(head, Recipe).__struct_fields__)
