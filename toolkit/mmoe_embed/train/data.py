"""Examples as tokens or windows, and the order they are trained in."""

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from mmoe_embed.config import GenerationConfig, ModelConfig
from mmoe_embed.errors import ToolkitError
from mmoe_embed.signals import Signals, count_windows, cut_windows

_POOL = 50  # batches drawn together, so that examples of like length share one


@dataclasses.dataclass(frozen=True)
class Pair:
    """A line of a data file."""

    prompt: str
    completion: str


@dataclasses.dataclass(frozen=True)
class Batch:
    """Examples side by side, padded at their end with the stop token; all (examples, time)."""

    tokens: Tensor  # int64, inputs; of a classifier float32 (examples, time, window_size), windows
    targets: Tensor  # int64, the token after each input; of a classifier the class
    real: Tensor  # bool, not padding
    answer: (
        Tensor  # bool, where the target is of the completion or the stop token; of a classifier after the last window
    )
    documents: Tensor | None = None  # int64, which document of a packed row; None where a row is one example


class DataSet(Protocol):
    """Examples that batches are drawn from."""

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Inputs of each example."""

    def __len__(self) -> int: ...

    def collate(self, chosen: NDArray[np.int64]) -> Batch:
        """Put examples side by side."""


@dataclasses.dataclass(frozen=True)
class Examples:
    """All examples end to end."""

    tokens: NDArray[np.uint16]
    starts: NDArray[np.int64]  # (examples + 1)
    answers: NDArray[np.int64]  # (examples), index in the example of the first token after the prompt
    pad: int  # token that fills up a row

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each example."""
        return np.diff(self.starts)

    def __len__(self) -> int:
        return len(self.answers)

    def collate(self, chosen: NDArray[np.int64]) -> Batch:
        """Put examples side by side."""
        longest = int(self.lengths[chosen].max())
        grid = np.full((len(chosen), longest), self.pad, np.int64)
        for row, index in enumerate(chosen):
            begin, end = self.starts[index], self.starts[index + 1]
            grid[row, : end - begin] = self.tokens[begin:end]
        position = np.arange(longest - 1)
        real = position < (self.lengths[chosen] - 1)[:, None]
        answer = real & (position >= (self.answers[chosen] - 1)[:, None])
        tokens = torch.from_numpy(grid)
        return Batch(
            tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous(), torch.from_numpy(real), torch.from_numpy(answer)
        )


@dataclasses.dataclass(frozen=True)
class Recordings:
    """Signals of a classifier, cut into windows as batches are made."""

    signals: Signals
    config: ModelConfig

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Windows of each recording: all have one length."""
        return np.full(len(self), count_windows(self.signals.values.shape[1], self.config), np.int64)

    def __len__(self) -> int:
        return len(self.signals)

    def collate(self, chosen: NDArray[np.int64]) -> Batch:
        """Put recordings side by side."""
        windows = torch.from_numpy(cut_windows(self.signals.values[chosen], self.config))
        shape = windows.shape[:2]
        real, answer = torch.ones(shape, dtype=torch.bool), torch.zeros(shape, dtype=torch.bool)
        answer[:, -1] = True
        targets = torch.from_numpy(self.signals.labels[chosen])[:, None].expand(shape)
        return Batch(windows, targets, real, answer)


def read_pairs(file: Path, make: str = "") -> list[Pair]:
    """Read JSONL.

    Args:
        file: one JSON object a line, with "prompt" and "completion".
        make: the command that writes the file, for the error.

    Raises:
        ToolkitError: missing file, or a line that is not such an object.
    """
    try:
        lines = file.read_text("utf-8").splitlines()
    except FileNotFoundError:
        raise ToolkitError(
            f"no data file {file.name} in {file.parent}", at=str(file), try_=make or "write it, or correct data.train"
        ) from None
    except UnicodeDecodeError as error:
        raise ToolkitError(f"not UTF-8: {error}", at=str(file)) from None
    pairs = []
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            prompt, completion = entry["prompt"], entry["completion"]
        except (ValueError, KeyError, TypeError) as error:
            raise ToolkitError(
                f"not a JSON object with prompt and completion: {error}", at=f"{file}, line {number}"
            ) from None
        if not (isinstance(prompt, str) and isinstance(completion, str)):
            raise ToolkitError("prompt and completion must be strings", at=f"{file}, line {number}")
        pairs.append(Pair(prompt, completion))
    if not pairs:
        raise ToolkitError("the data file has no lines", at=str(file), try_=make)
    return pairs


def encode_pairs(
    pairs: list[Pair], tokenizer: Tokenizer, generation: GenerationConfig, context: int, at: str
) -> Examples:
    """Frame and encode: prefix, prompt, suffix, completion, stop token.

    Raises:
        ToolkitError: an example is longer than the context, or a completion than max_new_tokens.
    """
    prompts = tokenizer.encode_batch_fast([p.prompt for p in pairs], add_special_tokens=False)
    completions = tokenizer.encode_batch_fast([p.completion for p in pairs], add_special_tokens=False)
    flat: list[int] = []
    starts, answers = [0], []
    for number, (prompt, completion) in enumerate(zip(prompts, completions, strict=True), 1):
        head = [*generation.prefix_tokens, *prompt.ids, *generation.suffix_tokens]
        tail = [*completion.ids, generation.stop_token]
        if len(head) + len(tail) - 1 > context:
            raise ToolkitError(
                f"an example is {len(head) + len(tail) - 1} tokens, max_position_embeddings is {context}",
                at=f"{at}, line {number}",
            )
        if len(tail) > generation.max_new_tokens:
            raise ToolkitError(
                f"a completion is {len(tail)} tokens, max_new_tokens is {generation.max_new_tokens}",
                at=f"{at}, line {number}",
            )
        flat += head + tail
        starts.append(len(flat))
        answers.append(len(head))
    starts_of, answers_of = np.array(starts, np.int64), np.array(answers, np.int64)
    return Examples(np.array(flat, np.uint16), starts_of, answers_of, generation.stop_token)


def draw_batches(examples: DataSet, size: int, seed: tuple[int, ...], first_step: int) -> Iterator[NDArray[np.int64]]:
    """The examples of each step from `first_step` on, without end; a function of seed and step alone.

    Every epoch is a fresh permutation; an incomplete batch at its end is left out.
    """
    size = min(size, len(examples))
    per_epoch = len(examples) // size
    epoch, skip = divmod(first_step, per_epoch)
    lengths = examples.lengths
    while True:
        rng = np.random.default_rng([*seed, epoch])
        order = rng.permutation(len(examples))[: per_epoch * size]
        pools = np.split(order, range(_POOL * size, len(order), _POOL * size))
        batches: list[NDArray[np.int64]] = []
        for pool in pools:
            rows = pool[np.argsort(lengths[pool], kind="stable")].reshape(-1, size)
            batches += list(rows[rng.permutation(len(rows))])
        yield from batches[skip:]
        epoch, skip = epoch + 1, 0


def hash_file(file: Path) -> str:
    """The sha256 of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
