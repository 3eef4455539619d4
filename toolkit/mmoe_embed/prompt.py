"""Requests: where they come from, and the board's answer to one, streamed."""

import codecs
import json
from collections.abc import Iterator
from pathlib import Path

from mmoe_embed.errors import ToolkitError, UsageError
from mmoe_embed.sampling import Sampling
from mmoe_embed.serial.client import BoardClient
from mmoe_embed.text_file import read_text


def stream_answer(client: BoardClient, request: str, sampling: Sampling | None = None) -> Iterator[str]:
    """The board's answer, piece by piece; a character whose bytes lie in two tokens comes whole."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for token in client.stream(request, sampling):
        if piece := decoder.decode(token.text):
            yield piece
    if rest := decoder.decode(b"", final=True):
        yield rest


def describe_long_prompt(tokens: int, context: int, request: str) -> UsageError:
    """The error of a prompt that no context of this model holds."""
    return UsageError(
        f"a prompt has {tokens} tokens, the context is {context} ({tokens - context} over)",
        at=repr(request[:60]),
        try_="a shorter prompt, or a model with a longer context (max_position_embeddings)",
    )


def load_requests(file: Path) -> list[str]:
    """Requests of a text file, one a line, or the `prompt` of every line of a .jsonl file.

    Raises:
        ToolkitError: no such file, no requests in it, or a line that is not as it should be.
    """
    if file.suffix == ".jsonl":
        return [prompt for prompt, _ in load_pairs(file)]
    requests = [line.strip() for line in read_text(file).splitlines() if line.strip()]
    if not requests:
        raise ToolkitError("no requests in the file", at=str(file), try_="one request a line")
    return requests


def load_pairs(file: Path) -> list[tuple[str, str]]:
    """(prompt, completion) of every line of a .jsonl data set.

    Raises:
        ToolkitError: no such file, nothing in it, or a line that is not as it should be.
    """
    pairs = []
    for number, line in enumerate(read_text(file).split("\n"), start=1):  # JSON text may hold other line separators
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            pair = (record["prompt"], record["completion"])
            "".join(pair).encode()  # both are text, and all of it has UTF-8
        except (ValueError, KeyError, TypeError, RecursionError):
            raise ToolkitError(
                'a line of a data set is {"prompt": "...", "completion": "..."}',
                at=f"{file}:{number}",
                try_=f"found {line[:60]!r}",
            ) from None
        pairs.append(pair)
    if not pairs:
        raise ToolkitError("the data set is empty", at=str(file))
    return pairs
