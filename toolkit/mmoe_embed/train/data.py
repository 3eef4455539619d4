"""Examples as tokens, and the order they are trained in."""

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from mmoe_embed.config import GenerationConfig
from mmoe_embed.errors import ToolkitError

_POOL = 50  # batches drawn together, so that examples of like length share one


@dataclasses.dataclass(frozen=True)
class Pair:
    """A line of a data file."""

    prompt: str
    completion: str


@dataclasses.dataclass(frozen=True)
class Batch:
    """Examples side by side, padded at their end with the stop token; all (examples, time)."""

    tokens: Tensor  # int64, inputs
    targets: Tensor  # int64, the token after each input
    real: Tensor  # bool, not padding
    answer: Tensor  # bool, where the target is a part of the completion or the stop token
    documents: Tensor | None = None  # int64, which document of a packed row; None where a row is one example


@dataclasses.dataclass(frozen=True)
class Examples:
    """All examples end to end."""

    tokens: NDArray[np.uint16]
    starts: NDArray[np.int64]  # (examples + 1)
    answers: NDArray[np.int64]  # (examples), index in the example of the first token after the prompt

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each example."""
        return np.diff(self.starts)

    def __len__(self) -> int:
        return len(self.answers)


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
    return Examples(np.array(flat, np.uint16), np.array(starts, np.int64), np.array(answers, np.int64))


def collate(examples: Examples, chosen: NDArray[np.int64], pad: int) -> Batch:
    """Put examples side by side."""
    longest = int(examples.lengths[chosen].max())
    grid = np.full((len(chosen), longest), pad, np.int64)
    for row, index in enumerate(chosen):
        begin, end = examples.starts[index], examples.starts[index + 1]
        grid[row, : end - begin] = examples.tokens[begin:end]
    position = np.arange(longest - 1)
    real = position < (examples.lengths[chosen] - 1)[:, None]
    answer = real & (position >= (examples.answers[chosen] - 1)[:, None])
    tokens = torch.from_numpy(grid)
    return Batch(
        tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous(), torch.from_numpy(real), torch.from_numpy(answer)
    )


def draw_batches(examples: Examples, size: int, seed: tuple[int, ...], first_step: int) -> Iterator[NDArray[np.int64]]:
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
