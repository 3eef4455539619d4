"""Encoding and decoding in C against the tokenizers library."""

import ctypes
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_model import train_tokenizer

from mmoe_embed.tokens import TokenTables, build_tables

pytestmark = pytest.mark.gcc

VOCABULARY = 400
TEXT = -10


class Merge(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint16) for name in ("left", "right", "result", "rank")]


class Tables(ctypes.Structure):
    _fields_ = [
        ("vocab_size", ctypes.c_uint32),
        ("merge_count", ctypes.c_uint32),
        ("byte_token", ctypes.c_void_p),
        ("merges", ctypes.c_void_p),
        ("text_offset", ctypes.c_void_p),
        ("text", ctypes.c_void_p),
    ]


class CTokenizer:
    """The C functions over a model's tables."""

    def __init__(self, library: Path, tables: TokenTables) -> None:
        self.c = ctypes.CDLL(str(library))
        self.c.mmoe_tokenizer_decode.restype = ctypes.c_void_p
        offsets = [0]
        for text in tables.text:
            offsets.append(offsets[-1] + len(text))
        self._arrays = (
            (ctypes.c_uint16 * 256)(*tables.byte_token),
            (Merge * len(tables.merges))(*(Merge(*merge) for merge in tables.merges)),
            (ctypes.c_uint32 * len(offsets))(*offsets),
            ctypes.create_string_buffer(b"".join(tables.text)),
        )
        self._tables = Tables(
            len(tables.text), len(tables.merges), *(ctypes.addressof(array) for array in self._arrays)
        )

    def encode(self, text: bytes, capacity: int | None = None) -> list[int] | int:
        room = len(text) if capacity is None else capacity
        tokens = (ctypes.c_uint16 * (room + 1))()
        tokens[room] = 0xBEEF
        count = self.c.mmoe_tokenizer_encode(ctypes.byref(self._tables), text, len(text), tokens, room)
        assert tokens[room] == 0xBEEF
        return count if count < 0 else list(tokens[:count])

    def decode(self, token: int) -> bytes:
        length = ctypes.c_uint32()
        address = self.c.mmoe_tokenizer_decode(ctypes.byref(self._tables), token, ctypes.byref(length))
        return ctypes.string_at(address, length.value)


@pytest.fixture(scope="module")
def library_tokenizer() -> object:
    return train_tokenizer(VOCABULARY)


@pytest.fixture(scope="module")
def tokenizer(shared_library: Path, library_tokenizer: object) -> CTokenizer:
    return CTokenizer(shared_library, build_tables(library_tokenizer.to_str(), VOCABULARY))  # type: ignore[attr-defined]


WORDS = [
    "wake",
    "me",
    "at",
    "ten",
    "past",
    "six",
    "timer",
    "minutes",
    "",
    " ",
    "naïve",
    "é",
    "火",
    "🙂",
    "a" * 40,
    "\n",
    "%",
]


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.text(max_size=80),
        st.lists(st.sampled_from(WORDS), max_size=20).map(" ".join),
        st.text("aet mwik", max_size=200),
    )
)
def test_encode_is_the_library(tokenizer: CTokenizer, library_tokenizer: object, text: str) -> None:
    expected = library_tokenizer.encode(text, add_special_tokens=False).ids  # type: ignore[attr-defined]
    if any(special in text for special in ("<bos>", "<sep>", "<eos>")):
        return
    tokens = tokenizer.encode(text.encode())
    assert tokens == expected
    assert isinstance(tokens, list)
    assert b"".join(tokenizer.decode(token) for token in tokens) == text.encode()


def test_special_tokens_never_come_from_text(tokenizer: CTokenizer) -> None:
    tokens = tokenizer.encode(b"<eos> <bos>")
    assert isinstance(tokens, list)
    assert not {0, 1, 2} & set(tokens)
    assert tokenizer.decode(0) == tokenizer.decode(2) == b""


def test_decode_of_unknown_tokens_is_empty(tokenizer: CTokenizer) -> None:
    assert tokenizer.decode(VOCABULARY) == tokenizer.decode(0xFFFFFFFF) == b""


def test_encode_refuses_what_does_not_fit(tokenizer: CTokenizer) -> None:
    text = b"wake me at ten past six"
    whole = tokenizer.encode(text)
    assert isinstance(whole, list)
    for capacity in range(len(text)):
        tokens = tokenizer.encode(text, capacity)
        assert tokens in (TEXT, whole)
    assert tokenizer.encode(b"", 0) == []


def test_any_bytes_come_back(tokenizer: CTokenizer) -> None:
    generator = random.Random(5)
    for _ in range(200):
        text = generator.randbytes(generator.randrange(60))
        tokens = tokenizer.encode(text)
        assert isinstance(tokens, list)
        assert b"".join(map(tokenizer.decode, tokens)) == text
