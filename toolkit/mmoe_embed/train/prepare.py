"""What a run works on: recipe, tokenizer and data, checked and encoded before the first step."""

import dataclasses
import functools
import hashlib
import itertools
from collections.abc import Iterator
from pathlib import Path

import msgspec
import torch
from tokenizers import Tokenizer
from torch import Tensor

from mmoe_embed.checkpoint import Checkpoint, load_checkpoint
from mmoe_embed.config import NO_GENERATION, GenerationConfig, ModelConfig
from mmoe_embed.errors import ToolkitError
from mmoe_embed.model import MoeModel
from mmoe_embed.signals import read_signals
from mmoe_embed.train.corpus import Corpus, draw_packed, read_corpus, token_bytes
from mmoe_embed.train.data import (
    Batch,
    DataSet,
    Examples,
    Recordings,
    draw_batches,
    encode_pairs,
    hash_file,
    read_pairs,
)
from mmoe_embed.train.documents import find_files, read_documents
from mmoe_embed.train.recipe import DataSettings, Recipe
from mmoe_embed.train.tokenizer import SPECIAL_TOKENS, train_tokenizer
from mmoe_embed.whole_file import write_whole

LEFT_BEFORE_THE_FIRST_STATE = {"tokenizer.json", "metrics.csv", "loss.svg", "checkpoint", "data", ".probe"}


@dataclasses.dataclass(frozen=True)
class Prepared:
    """Everything a run needs but the weights.

    Attributes:
        identity: sha256 over recipe and data.
        tokenizer: None for a classifier.
        start: the checkpoint that the first stage starts from; None: drawn weights.
        train, evaluate: the examples of [data].
        corpora: the sources, by name.
    """

    recipe: Recipe
    output: Path
    identity: str
    config: ModelConfig
    tokenizer: Tokenizer | None
    generation: GenerationConfig
    start: Checkpoint | None
    train: DataSet | None
    evaluate: DataSet | None
    corpora: dict[str, Corpus]

    @functools.cached_property
    def token_sizes(self) -> Tensor:
        """UTF-8 bytes of each token, int64 (vocabulary)."""
        assert self.tokenizer is not None, "sources are of a language model"
        return token_bytes(self.tokenizer, self.config.vocab_size)

    def scale_input(self, model: MoeModel) -> None:
        """Let a classifier's first layer bring every channel of the training signals to mean 0 and deviation 1."""
        if isinstance(self.train, Recordings):
            values = torch.from_numpy(self.train.signals.values).flatten(0, 1).double()
            deviation, mean = torch.std_mean(values, dim=0, correction=0)
            model.input.mean.copy_(mean)
            model.input.gain.copy_(torch.where(deviation > 0, 1 / deviation, 0.0))

    def batches(self, index: int, first_step: int) -> Iterator[Batch]:
        """The batches of a stage from `first_step` on, without end."""
        stage = self.recipe.stage[index]
        seed, stop = (self.recipe.seed, index), self.generation.stop_token
        if stage.mix:
            width = stage.row_tokens(self.config)
            return draw_packed(self.corpora, stage.mix, stage.batch, width, seed, first_step, stop)
        train = self.train
        assert train is not None, "a stage without a mix has [data]"
        return map(train.collate, draw_batches(train, stage.batch, seed, first_step))


def open_output(output: Path, resume: bool) -> None:
    """Make the folder of a run, or check that it is one to go on with."""
    found = {file.name for file in output.iterdir()} if output.is_dir() else set()
    # a run that was killed before its first state has left only what the next one makes again
    held = "state.pt" in found or (bool(found) and found <= LEFT_BEFORE_THE_FIRST_STATE)
    if resume:
        if not held:
            raise ToolkitError("no run to resume in this folder", at=str(output), try_="leave out --resume")
    elif found:
        raise ToolkitError(
            "the output folder holds a run already" if held else "the output folder is not empty",
            at=str(output),
            try_="the same command with --resume" if held else "give another folder with -o",
        )
    try:
        output.mkdir(parents=True, exist_ok=True)
        probe = output / ".probe"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise ToolkitError(
            f"the output folder cannot be written: {error.strerror}", at=str(output), try_="give another folder with -o"
        ) from None


def prepare(recipe_file: Path, recipe: Recipe, output: Path) -> Prepared:
    """Read the data of a recipe, learn its tokenizer and encode it all.

    Raises:
        ToolkitError: missing or bad data.
    """
    config = recipe.model_config(str(recipe_file))
    base = recipe_file.parent
    data = recipe.data
    start = _open_start(recipe, config, base, str(recipe_file)) if recipe.start else None
    if config.is_classifier and data:
        return _prepare_signals(recipe_file, recipe, data, output, config, start)
    pairs = read_pairs(base / data.train, data.make) if data else []
    files = [base / data.train] if data else []
    files += [file for source in recipe.source for file in find_files(source, base)]
    identity = _identify(recipe_file, files, start)
    if start is not None:
        tokenizer = Tokenizer.from_str(start.tokenizer)
    else:
        tokenizer = _open_tokenizer(recipe, [t for p in pairs for t in (p.prompt, p.completion)], base, output)
    vocabulary = tokenizer.get_vocab()
    bos, sep, eos = (vocabulary[t] for t in SPECIAL_TOKENS)
    generation = GenerationConfig(
        prefix_tokens=[bos], suffix_tokens=[sep], stop_token=eos, max_new_tokens=recipe.generation.max_new_tokens
    )

    def encode(file: str) -> Examples:
        source = pairs if data and file == data.train else read_pairs(base / file)
        return encode_pairs(source, tokenizer, generation, config.max_position_embeddings, str(base / file))

    return Prepared(
        recipe,
        output,
        identity,
        config,
        tokenizer,
        generation,
        start,
        encode(data.train) if data else None,
        encode(data.evaluate) if data and data.evaluate else None,
        {s.name: read_corpus(s, base, tokenizer, generation, output / "data") for s in recipe.source},
    )


def _open_start(recipe: Recipe, config: ModelConfig, base: Path, at: str) -> Checkpoint:
    """The checkpoint of `start`, which must be of the recipe's model."""
    start = load_checkpoint(base / recipe.start)
    differing = [
        f"{name} {getattr(start.config, name)}, here {value}"
        for name, value in msgspec.structs.asdict(config).items()
        if getattr(start.config, name) != value
    ]
    if differing:
        raise ToolkitError(
            f"the checkpoint in {recipe.start} is of another model: {'; '.join(differing)}", at=f"{at}, start"
        )
    return start


def _identify(recipe_file: Path, files: list[Path], start: Checkpoint | None) -> str:
    hashes = [*map(hash_file, files), *([start.sha256] if start else [])]
    return hashlib.sha256(recipe_file.read_bytes() + "".join(hashes).encode()).hexdigest()


def _prepare_signals(
    recipe_file: Path, recipe: Recipe, data: DataSettings, output: Path, config: ModelConfig, start: Checkpoint | None
) -> Prepared:
    """What a classifier works on."""
    base = recipe_file.parent
    train = Recordings(read_signals(base / data.train, config, data.make), config)
    evaluate = Recordings(read_signals(base / data.evaluate, config), config) if data.evaluate else None
    identity = _identify(recipe_file, [base / data.train], start)
    return Prepared(recipe, output, identity, config, None, NO_GENERATION, start, train, evaluate, {})


def _open_tokenizer(recipe: Recipe, texts: list[str], base: Path, output: Path) -> Tokenizer:
    """The run's tokenizer, learned on its first lines where there is none yet."""
    file = output / "tokenizer.json"
    if file.is_file():
        return Tokenizer.from_file(str(file))
    settings = recipe.tokenizer
    assert settings is not None, "a language model has one"
    shares = [
        itertools.islice(
            (d for f in find_files(s, base) for d in read_documents(s, f)), -(-settings.lines // len(recipe.source))
        )
        for s in recipe.source
    ]
    texts = texts[: 2 * settings.lines] + [d.text for share in shares for d in share]
    tokenizer = train_tokenizer(texts, settings.vocab_size, settings.merges == "letters")
    write_whole(file, tokenizer.to_str(pretty=False).encode())
    return tokenizer
