"""A source as one long row of tokens in a memory-mapped file, and packed batches drawn from it."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from mmoe_embed.config import GenerationConfig
from mmoe_embed.errors import ToolkitError
from mmoe_embed.tokens import build_tables
from mmoe_embed.train.data import Batch, hash_file
from mmoe_embed.train.documents import Document, find_files, read_documents
from mmoe_embed.train.recipe import SourceSettings

_TOGETHER = 256  # documents encoded at once


@dataclasses.dataclass(frozen=True)
class Stream:
    """Documents end to end, each begun by the prefix tokens and ended by the stop token.

    Attributes:
        tokens: memory-mapped, uint16 or uint32 (tokens).
        learned: memory-mapped, bool (tokens): not the request of a document with a prompt.
    """

    tokens: NDArray[np.uint16 | np.uint32]
    learned: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.tokens)


@dataclasses.dataclass(frozen=True)
class Corpus:
    """A source's two parts."""

    name: str
    train: Stream
    held_out: Stream


def read_corpus(
    source: SourceSettings, base: Path, tokenizer: Tokenizer, generation: GenerationConfig, folder: Path
) -> Corpus:
    """Encode a source into `folder`, or find it there from an earlier run of the same source and tokenizer.

    Whether a document is held out depends on its text alone, so copies of one document never lie on both sides.

    Raises:
        ToolkitError: missing or unreadable files, or nothing left to train on.
    """
    files = find_files(source, base)
    told = [tokenizer.to_str(), generation.to_json(), source.field, source.held_out, [hash_file(f) for f in files]]
    identity = hashlib.sha256(json.dumps(told).encode()).hexdigest()
    record = folder / f"{source.name}.json"
    if not (record.is_file() and json.loads(record.read_text("utf-8")) == identity):
        folder.mkdir(parents=True, exist_ok=True)
        record.unlink(missing_ok=True)
        documents = (document for file in files for document in read_documents(source, file))
        _encode(documents, source, tokenizer, generation, folder)
        record.write_text(json.dumps(identity), "utf-8")
    kind = _token_type(tokenizer)
    corpus = Corpus(source.name, *(_map_stream(folder / f"{source.name}.{part}", kind) for part in ("train", "held")))
    if len(corpus.train) < 2:
        raise ToolkitError(
            f"source '{source.name}' has nothing to train on", at=", ".join(source.path), try_="lower source.held_out"
        )
    return corpus


def _token_type(tokenizer: Tokenizer) -> type[np.uint16] | type[np.uint32]:
    return np.uint16 if tokenizer.get_vocab_size() <= 1 << 16 else np.uint32


def _map_stream(stem: Path, kind: type[np.uint16] | type[np.uint32]) -> Stream:
    tokens, learned = (Path(f"{stem}.{part}") for part in ("tokens", "learned"))
    if not tokens.stat().st_size:  # an empty file cannot be mapped
        return Stream(np.zeros(0, kind), np.zeros(0, np.bool_))
    return Stream(np.memmap(tokens, kind, "r"), np.memmap(learned, np.bool_, "r"))


def is_held_out(document: Document, share: float) -> bool:
    """Whether a document is kept for evaluation."""
    text = f"{document.prompt}\0{document.text}" if document.prompt is not None else document.text
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) < share * 2.0**64


def _encode(
    documents: Iterable[Document], source: SourceSettings, tokenizer: Tokenizer, generation: GenerationConfig, to: Path
) -> None:
    kind = _token_type(tokenizer)
    prefix, suffix, stop = generation.prefix_tokens, generation.suffix_tokens, [generation.stop_token]
    names = [to / f"{source.name}.{part}.{what}" for part in ("train", "held") for what in ("tokens", "learned")]
    outputs = [name.open("wb") for name in names]
    try:
        for group in _take(documents, _TOGETHER):
            texts = tokenizer.encode_batch_fast([d.text for d in group], add_special_tokens=False)
            prompts = tokenizer.encode_batch_fast([d.prompt or "" for d in group], add_special_tokens=False)
            for document, text, prompt in zip(group, texts, prompts, strict=True):
                head = [*prefix, *prompt.ids, *suffix] if document.prompt is not None else prefix
                tail = [*text.ids, *stop]
                first = 2 * is_held_out(document, source.held_out)
                learned = np.repeat([document.prompt is None, True], [len(head), len(tail)])
                outputs[first].write(np.array(head + tail, kind).tobytes())
                outputs[first + 1].write(learned.tobytes())
    finally:
        for output in outputs:
            output.close()


def _take(documents: Iterable[Document], count: int) -> Iterator[list[Document]]:
    group: list[Document] = []
    for document in documents:
        group.append(document)
        if len(group) == count:
            yield group
            group = []
    if group:
        yield group


def cut_batch(stream: Sequence[Stream], starts: NDArray[np.int64], width: int, stop: int) -> Batch:
    """Rows of `width` tokens and the tokens after them, from where each row starts in its stream.

    A token sees its own document only: `documents` numbers them within a row.
    """
    grid = np.empty((len(starts), width + 1), np.int64)
    learned = np.empty((len(starts), width + 1), np.bool_)
    for row, (source, start) in enumerate(zip(stream, starts, strict=True)):
        grid[row] = source.tokens[start : start + width + 1]
        learned[row] = source.learned[start : start + width + 1]
    tokens = torch.from_numpy(grid)
    ends = (grid[:, :-1] == stop).cumsum(axis=1)
    documents = np.concatenate([np.zeros((len(starts), 1), np.int64), ends[:, :-1]], axis=1)
    real = grid[:, :-1] != stop  # what follows a document's end is another one's beginning
    return Batch(
        tokens[:, :-1].contiguous(),
        tokens[:, 1:].contiguous(),
        torch.from_numpy(real),
        torch.from_numpy(real & learned[:, 1:]),
        torch.from_numpy(documents),
    )


def draw_packed(
    corpora: Mapping[str, Corpus],
    mix: Mapping[str, float],
    rows: int,
    width: int,
    seed: tuple[int, ...],
    first_step: int,
    stop: int,
) -> Iterator[Batch]:
    """Packed batches from `first_step` on, without end; a function of seed and step alone.

    Args:
        corpora: by name.
        mix: source name: weight.
        rows: of a batch; each row's source is drawn by weight, then its place in it.
        width: tokens of a row.
        seed: of the stage.
        first_step: where to begin.
        stop: the token that ends a document.

    Raises:
        ToolkitError: a source is shorter than one row.
    """
    streams = [corpora[name].train for name in mix]
    for name, stream in zip(mix, streams, strict=True):
        if len(stream) <= width:
            raise ToolkitError(
                f"source '{name}' has {len(stream)} tokens, a row takes {width + 1}", try_="lower stage.context"
            )
    weights = np.array(list(mix.values()))
    step = first_step
    while True:
        rng = np.random.default_rng([*seed, step])
        chosen = rng.choice(len(streams), rows, p=weights / weights.sum())
        sources = [streams[c] for c in chosen]
        yield cut_batch(sources, rng.integers(0, [len(s) - width for s in sources]), width, stop)
        step += 1


def cut_held_out(stream: Stream, width: int, rows: int, batch: int, stop: int) -> Iterator[Batch]:
    """Rows of the held-out part that do not overlap, `rows` at most, spread evenly over it."""
    width = min(width, len(stream) - 1)
    count = min(rows, (len(stream) - 1) // width) if width > 0 else 0
    starts = np.linspace(0, len(stream) - 1 - width, count).astype(np.int64)
    for group in np.array_split(starts, -(-count // batch)) if count else ():
        yield cut_batch([stream] * len(group), group, width, stop)


def token_bytes(tokenizer: Tokenizer, vocab_size: int) -> torch.Tensor:
    """UTF-8 bytes that each token stands for, int64 (vocabulary); 0 for special tokens."""
    return torch.tensor([len(text) for text in build_tables(tokenizer.to_str(), vocab_size).text])
