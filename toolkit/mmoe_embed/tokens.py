"""Text to tokens and back (SPEC.md 4), and the tables that the C side is emitted from."""

import dataclasses
import json

from tokenizers import Tokenizer

from mmoe_embed.config import MAX_NARROW_VOCABULARY, MAX_ROWS
from mmoe_embed.errors import ToolkitError


class Tokens:
    """A byte-level BPE tokenizer.

    Args:
        text: tokenizer.json.
        at: where it was read, for an error.

    Raises:
        ToolkitError: not a tokenizer of the kind SPEC.md 4 describes, or that of a classifier, which has none.
    """

    def __init__(self, text: str, at: str = "tokenizer.json") -> None:
        if not text:
            raise describe_no_text()
        try:
            self._tokenizer = Tokenizer.from_str(text)
            self._tokenizer.encode_special_tokens = True  # text never becomes a special token (SPEC.md 4)
        except Exception as error:  # the library raises bare Exception
            raise ToolkitError(
                f"not a tokenizer: {error}", at=at, try_="the tokenizer.json that the model came with"
            ) from None

    def encode(self, text: str) -> list[int]:
        """Token ids of a text; no special tokens are added."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: list[int]) -> str:
        """The text of tokens; special tokens have none."""
        return str(self._tokenizer.decode(ids, skip_special_tokens=True))


@dataclasses.dataclass(frozen=True)
class TokenTables:
    """What the board needs to encode and decode."""

    text: tuple[bytes, ...]  # per token id; b"" for special tokens
    byte_token: tuple[int, ...]  # (256): the token of one byte
    merges: tuple[tuple[int, int, int, int], ...]  # (left, right, result, rank), sorted by (left, right)


def _byte_letters() -> dict[str, int]:
    # byte-level BPE writes each byte as one printable letter: bytes that print as themselves stay, the rest take
    # the code points from 256 on, in order (GPT-2's table)
    plain = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters = {chr(b): b for b in plain}
    letters |= {chr(256 + i): b for i, b in enumerate(b for b in range(256) if b not in plain)}
    return letters


def describe_no_text(
    at: str = "", try_: str = "mmoe-embed validate BUILD, mmoe-embed accuracy BUILD DATA.safetensors"
) -> ToolkitError:
    """What is said where a classifier is to read or write text."""
    return ToolkitError(
        "this model classifies windows of a signal: it has no text",
        at=at,
        try_=try_,
    )


def build_tables(text: str, vocab_size: int) -> TokenTables:
    """Tables for the board.

    Args:
        text: tokenizer.json.
        vocab_size: entries of the model's embedding, at least the tokenizer's.

    Raises:
        ToolkitError: the tokenizer is of another kind than SPEC.md 4, or does not cover all 256 bytes; too many merges.
    """
    spec = json.loads(text)
    model = spec.get("model") or {}
    _require(model.get("type") == "BPE", "the model is not BPE")
    _require(not spec.get("normalizer"), "it has a normalizer")
    _require(
        _is_supported_split(spec.get("pre_tokenizer")),
        "its pre-tokenizer is not Split(' ', merged_with_next) then ByteLevel(add_prefix_space=False, use_regex=False)",
    )
    for key in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "ignore_merges", "byte_fallback"):
        _require(not model.get(key), f"its BPE model sets {key}")
    vocabulary: dict[str, int] = model.get("vocab") or {}
    largest = max(vocabulary.values(), default=-1)
    _require(0 <= largest < vocab_size, f"token ids reach {largest}, the model's vocab_size is {vocab_size}")
    special = {token["content"] for token in spec.get("added_tokens", [])}
    letters = _byte_letters()
    texts = [b""] * vocab_size
    for token, number in vocabulary.items():
        if token not in special:
            _require(all(letter in letters for letter in token), f"token {token!r} is not byte-level")
            texts[number] = bytes(letters[letter] for letter in token)
    missing = [byte for letter, byte in letters.items() if letter not in vocabulary]
    _require(not missing, f"{len(missing)} bytes have no token, 0x{missing[0] if missing else 0:02x} is one")
    byte_token = [0] * 256
    for letter, byte in letters.items():
        byte_token[byte] = vocabulary[letter]
    most = MAX_NARROW_VOCABULARY if vocab_size <= MAX_NARROW_VOCABULARY else MAX_ROWS
    _require(len(model["merges"]) <= most, f"it has {len(model['merges'])} merges, at most {most}")
    merges = []
    for rank, merge in enumerate(model["merges"]):
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        unknown = next((piece for piece in (left, right, left + right) if piece not in vocabulary), None)
        _require(unknown is None, f"merge {rank} makes or takes {unknown!r}, which is no token")
        merges.append((vocabulary[left], vocabulary[right], vocabulary[left + right], rank))
    return TokenTables(tuple(texts), tuple(byte_token), tuple(sorted(merges)))


def _require(ok: bool, what: str) -> None:
    if not ok:
        raise ToolkitError(
            f"the tokenizer cannot run on a board: {what}",
            at="tokenizer.json",
            try_="train one as examples/watch does: byte-level BPE without a regex, split before spaces",
        )


def _is_supported_split(spec: dict[str, object] | None) -> bool:
    if not spec or spec.get("type") != "Sequence":
        return False
    parts = spec.get("pretokenizers")
    if not isinstance(parts, list) or len(parts) != 2:
        return False
    split, byte_level = parts
    return bool(
        split.get("type") == "Split"
        and split.get("pattern") == {"String": " "}
        and split.get("behavior") == "MergedWithNext"
        and not split.get("invert")
        and byte_level.get("type") == "ByteLevel"
        and not byte_level.get("add_prefix_space")
        and not byte_level.get("use_regex")
    )
