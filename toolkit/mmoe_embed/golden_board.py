"""The golden behind the requests of a board: what a board must answer, computed on this machine."""

import functools
import zlib

import numpy as np
from numpy.typing import NDArray

from mmoe_embed.build_folder import BuildFolder
from mmoe_embed.errors import ToolkitError
from mmoe_embed.golden import Golden, exp, sum_lanes
from mmoe_embed.paging.slots import slots_of_plan
from mmoe_embed.quantized import load_quantized
from mmoe_embed.serial.client import StatusError
from mmoe_embed.serial.frames import MAX_BODY_BYTES
from mmoe_embed.serial.replies import NextToken, Score, Step
from mmoe_embed.signals import draw_windows
from mmoe_embed.tokens import build_tables

_TEXT, _CONTEXT, _NO_PROMPT = -10, -2, -11
_PIECE_BYTES = (MAX_BODY_BYTES - 8) // 2  # of text without a space, firmware/src/protocol.c
_HERE = "the golden"


def load_golden(build: BuildFolder) -> Golden:
    """What a board that runs a build must compute; a classifier has random windows for tokens.

    Raises:
        ToolkitError: its quantized model cannot be read.
    """
    model = load_quantized(build.quantized)
    golden = Golden(model, slots_of_plan(build.plan, model.config))
    if model.config.is_classifier:
        golden.windows = draw_windows(model)
    return golden


class GoldenBoard:
    """Answers prompt, next, step, windows and score as a board with the golden's model does, refusals included."""

    def __init__(self, golden: Golden) -> None:
        self.golden = golden
        self._logits: NDArray[np.float32] = np.zeros(golden.config.vocab_size, np.float32)
        self._generated = 0
        self._ended = False

    @functools.cached_property
    def _texts(self) -> tuple[bytes, ...]:
        return build_tables(self.golden.model.tokenizer, self.golden.config.vocab_size).text

    def reset(self, *, empty_slots: bool = False) -> None:
        """Empty the context, and the slots on demand."""
        self.golden.reset(empty_slots=empty_slots)

    def prompt(self, text: str) -> int:
        """Start a request; returns how many tokens prefix, text and suffix are."""
        tokens = self.golden.prompt_tokens(text)
        longest = max(len(piece) for piece in text.encode().replace(b" ", b"\0 ").split(b"\0"))
        if not 0 < len(tokens) <= self.golden.config.max_position_embeddings or longest > _PIECE_BYTES:
            raise StatusError(_TEXT, "prompt", _HERE)
        self.golden.reset()
        self._logits = self.golden.prefill(tokens)
        self._generated, self._ended = 0, False
        return len(tokens)

    def step(self, token: int) -> None:
        """Feed one token."""
        if self.golden.position >= self.golden.config.max_position_embeddings:
            raise StatusError(_CONTEXT, "step", _HERE)
        self._logits = self.golden.step(token)

    def classify(self, windows: NDArray[np.float32]) -> Step:
        """Feed windows to a classifier."""
        if self.golden.position + len(windows) > self.golden.config.max_position_embeddings:
            raise StatusError(_CONTEXT, "windows", _HERE)
        self._logits = self.golden.classify(windows)
        crc = zlib.crc32(self._logits.astype("<f4").tobytes())
        return Step(self.golden.position - 1, int(np.argmax(self._logits)), crc, 0)

    def next_token(self) -> NextToken:
        """The next token of the answer."""
        generation = self.golden.model.generation
        token = int(np.argmax(self._logits))
        if self._ended or token == generation.stop_token or self._generated >= generation.max_new_tokens:
            return NextToken(token, done=True, text=b"")
        if self.golden.position < self.golden.config.max_position_embeddings:
            self.step(token)
        else:
            self._ended = True
        self._generated += 1
        return NextToken(token, done=False, text=self._texts[token])

    def score(self, token: int) -> Score:
        """The probability that the last step gave to a token, in the bits of SPEC.md 8.1."""
        if not 0 <= token < self.golden.config.vocab_size:
            raise ToolkitError(f"token {token} is outside the vocabulary of {self.golden.config.vocab_size}")
        largest = self._logits.max()
        total = sum_lanes(exp(self._logits - largest))
        return Score(float(self._logits[token]), float(largest), float(total))
