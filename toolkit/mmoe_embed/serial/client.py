"""A board, typed: one method for each request of SPEC.md 8.1."""

import struct
import zlib
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from mmoe_embed.config import MAX_NARROW_VOCABULARY
from mmoe_embed.errors import DeviceError, MismatchError, ToolkitError
from mmoe_embed.sampling import Sampling
from mmoe_embed.serial.frames import MAX_PAYLOAD_BYTES
from mmoe_embed.serial.link import IDENTIFY, Link, NoReplyError, RoundTrip
from mmoe_embed.serial.replies import (
    Event,
    Identity,
    KernelTest,
    LayerStatistics,
    NextToken,
    OpProfile,
    Routes,
    Score,
    Statistics,
    Step,
)

PROTOCOL_ABI = 7
MAX_PREFILL = MAX_PAYLOAD_BYTES // 4  # tokens of one request
_SMALLEST_PIECE_BYTES, _LARGEST_PIECE_BYTES = 16, 1024  # of one reply: on the worst line, and on a good one
_GOOD_PIECES = 64  # that came at once before longer ones are tried again

_RESET, _STEP, _LOGITS, _STATISTICS, _PROFILE, _ENCODE, _PROMPT, _NEXT, _ROUTES, _LAYERS = range(0x02, 0x0C)
_PREFILL, _TIMELINE, _SAMPLING, _WINDOWS = range(0x0C, 0x10)
_SCORE, _SELFTEST = 0x10, 0x11

# mmoe_status.h; the numbers never change
STATUS_TEXT = {
    -1: "an argument is out of range (MMOE_E_ARGUMENT)",
    -2: "the context is full (MMOE_E_CONTEXT)",
    -3: "the token is not in the vocabulary (MMOE_E_TOKEN)",
    -4: "an activation is too large or NaN (MMOE_E_NUMERIC)",
    -5: "an expert page does not match its CRC-32 (MMOE_E_PAGE_CRC)",
    -6: "the expert storage failed or read short (MMOE_E_PAGE_READ)",
    -7: "the expert storage did not finish in time (MMOE_E_PAGE_TIMEOUT)",
    -8: "the expert image is not the one this firmware was built with (MMOE_E_IMAGE)",
    -9: "the firmware does not know this request, or has a model of another kind (MMOE_E_UNSUPPORTED)",
    -10: "the text has no tokens, or more than fit (MMOE_E_TEXT)",
    -11: "no prompt is running (MMOE_E_NO_PROMPT)",
}
_STATUS_HINT = {
    -2: "reset first, or use a model with a longer context",
    -5: "flash the build again: its expert image is damaged on the board",
    -8: "flash the build again: image and firmware belong together",
    -9: "flash a build of this version of mmoe-embed",
    -10: "a shorter prompt",
    -11: "send a prompt first; a reset or a step ends the one that ran",
}


class StatusError(DeviceError):
    """The board answered with a negative status."""

    def __init__(self, status: int, request: str, url: str) -> None:
        text = STATUS_TEXT.get(status, f"unknown status {status}")
        super().__init__(f"{request} failed on the board: {text}", at=url, try_=_STATUS_HINT.get(status, ""))
        self.status = status


class TextTooLongError(ToolkitError):
    """A text that no request can carry."""


class ResetError(DeviceError):
    """The board started again in the middle of a session."""


class BoardClient:
    """Asks a board; every wait ends, every failure is a named error.

    Attributes:
        windows: float32 (count, window_size), of a classifier: `step` and `prefill` take their numbers for tokens.
    """

    def __init__(self, link: Link, *, step_patience_s: float = 60.0) -> None:
        self.link = link
        self.identity: Identity | None = None
        self.windows: NDArray[np.float32] | None = None
        self._step_patience_s = step_patience_s
        self._step_pace = RoundTrip(0.5, 2 * link.least_wait_s, step_patience_s / 4)
        self._piece_bytes = _LARGEST_PIECE_BYTES
        self._good_pieces = 0
        self._position = 0

    def close(self) -> None:
        """Give the port back."""
        self.link.close()

    def identify(self, *, patience_s: float = 6.0) -> Identity:
        """Ask who is there; the first thing to do with a board."""
        payload = self.ask("identify", IDENTIFY, b"", reply_bytes=160, patience_s=patience_s)
        fixed = struct.Struct("<HHIIHHHH32s32sIII")
        head, text = payload[: fixed.size], payload[fixed.size :].split(b"\0")
        if len(head) < fixed.size or len(text) < 2:
            raise self._malformed("identify", payload)
        *numbers, model, build, tick_hz, experts_crc, updates = fixed.unpack(head)
        abi, boots, vocab_size, context, layers, experts, top_k, slots = numbers
        identity = Identity(
            abi=abi,
            boots=boots,
            vocab_size=vocab_size,
            context=context,
            layers=layers,
            experts=experts,
            top_k=top_k,
            slots=slots,
            model_id=model.hex(),
            build_id=build.hex(),
            tick_hz=tick_hz,
            experts_crc=experts_crc,
            updates=updates,
            board=text[0].decode("utf-8", "replace"),
            firmware_version=text[1].decode("utf-8", "replace"),
        )
        if identity.abi != PROTOCOL_ABI:
            raise MismatchError(
                f"the firmware speaks ABI {identity.abi}, this mmoe-embed speaks {PROTOCOL_ABI}",
                at=self.link.port.url,
                try_="build and flash again with this version of mmoe-embed",
            )
        if self.identity is not None and self.identity.boots != identity.boots:
            raise ResetError(
                f"the board was reset in mid-run: boot {self.identity.boots}, now {identity.boots}",
                at=self.link.port.url,
                try_="check its power and run the same command again",
            )
        if self.identity is not None and self.identity != identity:
            raise MismatchError("another board answers than before", at=self.link.port.url)
        self.identity = identity
        return identity

    def require_build(self, model_id: str, build_id: str) -> None:
        """Refuse a board that runs another build.

        Raises:
            MismatchError: other model or other build.
        """
        found = self.identity or self.identify()
        for what, wanted, has in (("model", model_id, found.model_id), ("build", build_id, found.build_id)):
            if wanted != has:
                raise MismatchError(
                    f"the board runs another {what}: {has[:12]}..., this build is {wanted[:12]}...",
                    at=f"{self.link.port.url}, board {found.board}, firmware {found.firmware_version}",
                    try_="mmoe-embed flash BUILD",
                )

    def reset(self, *, empty_slots: bool = False, clear_statistics: bool = False) -> None:
        """Start a new sequence."""
        self.ask("reset", _RESET, bytes([empty_slots | clear_statistics << 1]), reply_bytes=4)
        self._position = 0

    def restart(self) -> None:
        """Reset the board's processor; what lies in RAM that outlives a reset stays there.

        Raises:
            DeviceError: this firmware cannot, or the board does not come back.
        """
        boots = self._known().boots
        self.link.post(_RESET, bytes([4]))
        self.identity = None
        self._position = 0
        if self.identify().boots == boots:
            raise DeviceError(
                "the board was not reset: nothing of its RAM is known to outlive a reset",
                at=self.link.port.url,
                try_="`retained = true` in the board file, for memories of which that was measured",
            )

    def step(self, token: int) -> Step:
        """Feed one token.

        Raises:
            ResetError: the board is not at the position it should be at.
        """
        return self._take("step", _STEP, [token]) if self.windows is None else self.prefill([token])

    def prefill(self, tokens: Sequence[int]) -> Step:
        """Feed tokens in as few passes as the board can, at most MAX_PREFILL of them; logits are of the last one.

        Raises:
            ResetError: the board is not at the position it should be at.
        """
        if self.windows is not None:
            return self.classify(self.windows[list(tokens)])
        return self._take("prefill", _PREFILL, tokens)

    def classify(self, windows: NDArray[np.float32]) -> Step:
        """Feed windows to a classifier, float32 (count, window_size), at least one; logits are of the last one.

        Raises:
            ResetError: the board is not at the position it should be at.
        """
        data = np.ascontiguousarray(windows, "<f4")
        most = MAX_PAYLOAD_BYTES // data[0].nbytes
        for first in range(0, len(data), most):
            part = data[first : first + most]
            step = self._feed("windows", _WINDOWS, part.tobytes(), len(part))
        return step

    def _take(self, name: str, kind: int, tokens: Sequence[int]) -> Step:
        return self._feed(name, kind, struct.pack(f"<{len(tokens)}I", *tokens), len(tokens))

    def _feed(self, name: str, kind: int, payload: bytes, count: int) -> Step:
        step = Step(*self._work(name, kind, payload, "<IIIQ", scale=count))
        self._position += count
        if step.position != self._position - 1:
            raise ResetError(
                f"the board took the token at position {step.position}, expected {self._position - 1}: "
                "it was reset, or another program feeds it",
                at=self.link.port.url,
                try_="see that nothing else uses the board, and run the same command again",
            )
        return step

    def logits(self) -> NDArray[np.float32]:
        """All logits of the last step, float32 (vocabulary). On a bad line they come in smaller pieces."""
        vocab_size = self._known().vocab_size
        data = b""
        while len(data) < 4 * vocab_size:
            first = len(data) // 4
            data += self._ask_piece("logits", _LOGITS, first, min(vocab_size - first, 256), item_bytes=4)
        return np.frombuffer(data, dtype="<f4").astype(np.float32, copy=False)

    def checked_logits(self, step: Step) -> NDArray[np.float32]:
        """All logits of `step`, whose CRC-32 the board gave with it.

        Raises:
            DeviceError: the logits are not those of the step.
        """
        logits = self.logits()
        crc = zlib.crc32(logits.tobytes())
        if crc != step.logits_crc:
            raise ResetError(
                f"the board's logits have CRC-32 {crc:08x}, its step at position {step.position} said "
                f"{step.logits_crc:08x}: they are of another step",
                at=self.link.port.url,
                try_="see that nothing else uses the board, and run the same command again",
            )
        return logits

    def statistics(self) -> Statistics:
        """Counters and high-water marks."""
        return Statistics(*self._fixed("statistics", self.ask("statistics", _STATISTICS), "<IIIIQQIIIIQQIII"))

    def profile(self) -> list[OpProfile]:
        """Ticks and calls of every operation, in the order of the emitted step function."""
        return [OpProfile(*values) for values in self._list("profile", _PROFILE, "<QI", 64)]

    def layers(self) -> list[LayerStatistics]:
        """Counters of every layer's experts."""
        return [LayerStatistics(*values) for values in self._list("layers", _LAYERS, "<IIQQQ", 32)]

    def timeline(self) -> list[Event]:
        """The events that the board still has, in the order in which it noticed them."""
        events: list[Event] = []
        item = struct.Struct("<IBBH")
        first, origin, last = 0, None, 0
        while True:
            request = struct.pack("<IH", first, 120)
            payload = self.ask("timeline", _TIMELINE, request, reply_bytes=8 + 120 * item.size)
            if len(payload) < 8 or (len(payload) - 8) % item.size:
                raise self._malformed("timeline", payload)
            recorded, first = struct.unpack_from("<II", payload)
            part = list(item.iter_unpack(payload[8:]))
            for low, kind, _, argument in part:
                origin, last = (low, low) if origin is None else (origin, last)
                step = (low - last + (1 << 31)) % (1 << 32) - (1 << 31)  # events are close to each other
                last += step
                events.append(Event(last - origin, kind, argument))
            first += len(part)
            if first >= recorded or not part:
                return events

    def _list(self, name: str, kind: int, layout: str, most: int) -> list[tuple[int, ...]]:
        """A list that comes in pieces of at most `most` items, each behind the whole number of items."""
        items: list[tuple[int, ...]] = []
        item = struct.Struct(layout)
        while True:
            payload = self._ask_piece(name, kind, len(items), most, item_bytes=item.size, head_bytes=2)
            total = struct.unpack_from("<H", payload)[0]
            part = list(item.iter_unpack(payload[2:]))
            items += part
            if len(items) >= total:
                return items
            if not part:
                raise self._malformed(name, payload)

    def encode(self, text: str) -> list[int]:
        """Tokens of a text, by the board's tokenizer."""
        wide = self._known().vocab_size > MAX_NARROW_VOCABULARY
        size, letter = (4, "I") if wide else (2, "H")
        payload = self.ask("encode", _ENCODE, self._text_bytes(text), reply_bytes=size * len(text))
        if len(payload) % size:
            raise self._malformed("encode", payload)
        return list(struct.unpack(f"<{len(payload) // size}{letter}", payload))

    def prompt(self, text: str) -> int:
        """Start a request: prefix, text and suffix are run; returns how many tokens that were."""
        tokens = self._work("prompt", _PROMPT, self._text_bytes(text), "<H", scale=32)[0]
        self._position = int(tokens)
        return int(tokens)

    def next_token(self) -> NextToken:
        """The next token of the answer to the last prompt."""
        payload = self._work_bytes("next", _NEXT, b"")
        if len(payload) < 5:
            raise self._malformed("next", payload)
        token, done = struct.unpack_from("<IB", payload)
        if not done:
            self._position += 1
        return NextToken(token, bool(done), payload[5:])

    def sample_next_answer(self, sampling: Sampling) -> None:
        """Have the answer to the next prompt drawn; every other one is greedy."""
        payload = struct.pack("<fII", sampling.temperature, sampling.top_k, sampling.seed)
        self.ask("sampling", _SAMPLING, payload)

    def stream(self, text: str, sampling: Sampling | None = None) -> Iterator[NextToken]:
        """The answer to a request, token by token, without the one that ends it; greedy unless told how to draw."""
        if sampling is not None:
            self.sample_next_answer(sampling)
        self.prompt(text)
        limit = self._known().context + 1
        for _ in range(limit):
            token = self.next_token()
            if token.done:
                return
            yield token
        raise DeviceError(f"the answer has no end: {limit} tokens", at=self.link.port.url)

    def routes(self) -> Routes:
        """Experts of the last step."""
        identity = self._known()
        size = identity.layers * identity.top_k
        payload = self.ask("routes", _ROUTES, reply_bytes=2 * size)
        if len(payload) != 2 * size:
            raise self._malformed("routes", payload)
        both = np.frombuffer(payload, dtype=np.uint8).reshape(2, identity.layers, identity.top_k)
        return Routes(both[0], both[1])

    def score(self, token: int) -> Score:
        """The probability that the last step gave to a token."""
        return Score(*self._fixed("score", self.ask("score", _SCORE, struct.pack("<I", token)), "<fff"))

    def test_kernels(self) -> list[KernelTest]:
        """Run every kernel on the firmware's stored numbers; the context is lost."""
        tests: list[KernelTest] = []
        fixed = struct.Struct("<BQII")
        while True:
            payload = self.ask("self-test", _SELFTEST, bytes([len(tests)]))
            if len(payload) <= fixed.size or payload[-1]:
                raise self._malformed("self-test", payload)
            count, ticks, crc, expected = fixed.unpack_from(payload)
            name = payload[fixed.size : -1].decode("utf-8", "replace")
            tests.append(KernelTest(name, ticks, crc, expected))
            if len(tests) >= count:
                self._position = 0
                return tests

    @staticmethod
    def _text_bytes(text: str) -> bytes:
        data = text.encode("utf-8", "surrogateescape")
        if len(data) > MAX_PAYLOAD_BYTES:
            raise TextTooLongError(
                f"the text is {len(data)} B, a request holds {MAX_PAYLOAD_BYTES} B "
                f"({len(data) - MAX_PAYLOAD_BYTES} B over)",
                try_="a shorter prompt",
            )
        return data

    def _known(self) -> Identity:
        return self.identity or self.identify()

    def _work(self, name: str, kind: int, payload: bytes, layout: str, *, scale: int = 1) -> tuple[int, ...]:
        return self._fixed(name, self._work_bytes(name, kind, payload, scale=scale), layout)

    def _work_bytes(self, name: str, kind: int, payload: bytes, *, scale: int = 1) -> bytes:
        """A request that runs the model."""
        patience_s = self._step_patience_s
        pace = self._step_pace
        if scale > 1:  # many steps: waits as long as that many, and teaches nothing about one
            patience_s *= min(scale, 8)
            wait_s = min(10.0, scale * pace.timeout_s)
            pace = RoundTrip(wait_s, wait_s, wait_s)
        return self.ask(name, kind, payload, pace=pace, patience_s=patience_s)

    def ask(
        self,
        name: str,
        kind: int,
        payload: bytes = b"",
        *,
        reply_bytes: int = 64,
        pace: RoundTrip | None = None,
        patience_s: float = 10.0,
    ) -> bytes:
        """Send a request; what its reply has behind the status. Arguments as of `Link.request`.

        Raises:
            StatusError: the board refused.
        """
        reply = self.link.request(kind, payload, name=name, reply_bytes=reply_bytes, pace=pace, patience_s=patience_s)
        if len(reply) < 4:
            raise self._malformed(name, reply)
        status = struct.unpack_from("<i", reply)[0]
        if status:
            if kind != IDENTIFY:
                self._notice_reset()
            raise StatusError(status, name, self.link.port.url)
        return reply[4:]

    def _ask_piece(
        self, name: str, kind: int, first: int, count: int, *, item_bytes: int, head_bytes: int = 0
    ) -> bytes:
        """Items from `first`, at most `count` of them; fewer while long replies do not come through.

        Where the request has no head, exactly the number asked for is right; with one, fewer at the end are too.
        """
        while True:
            asked = min(count, max(1, self._piece_bytes // item_bytes))
            reply_bytes = head_bytes + asked * item_bytes
            last_resort = self._piece_bytes <= _SMALLEST_PIECE_BYTES
            patience_s = 20.0 if last_resort else 1.0 + 30 * reply_bytes / self.link.port.baud
            request = struct.pack("<IH" if kind == _LOGITS else "<HH", first, asked)
            retries = self.link.retries
            try:
                reply = self.ask(name, kind, request, reply_bytes=reply_bytes, patience_s=patience_s)
            except NoReplyError:
                if last_resort:
                    raise
                self._piece_bytes //= 4
                self._good_pieces = 0
                continue
            self._note_piece(good=self.link.retries == retries)
            items, rest = divmod(len(reply) - head_bytes, item_bytes)
            if rest or items < 0 or items > asked or (items < asked and not head_bytes):
                raise self._malformed(name, reply)
            return reply

    def _note_piece(self, *, good: bool) -> None:
        """A line that was bad, or a board that stood still for a while, must not slow down the rest of the session."""
        self._good_pieces = self._good_pieces + 1 if good else 0
        if self._good_pieces == _GOOD_PIECES:
            self._piece_bytes = min(_LARGEST_PIECE_BYTES, 4 * self._piece_bytes)
            self._good_pieces = 0

    def _notice_reset(self) -> None:
        """Raise ResetError when a failure comes from a board that has started again."""
        if self.identity is not None:
            self.identify()

    def _fixed(self, name: str, payload: bytes, layout: str) -> tuple[int, ...]:
        if len(payload) != struct.calcsize(layout):
            raise self._malformed(name, payload)
        return struct.unpack(layout, payload)

    def _malformed(self, name: str, payload: bytes) -> MismatchError:
        return MismatchError(
            f"the reply to {name} has {len(payload)} B, which SPEC.md 8.1 does not allow",
            at=self.link.port.url,
            try_="flash a build of this version of mmoe-embed",
        )
