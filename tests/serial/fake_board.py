"""A board in Python that speaks SPEC.md 8.1 over a loopback socket, and a line that damages what it carries."""

import contextlib
import random
import select
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from mmoe_embed.serial.frames import Frame, FrameReader, encode_frame

MODEL_ID, BUILD_ID = "11" * 32, "22" * 32
BANNER = b"m-timestamp-mode-performance\r\nm-lap-us-12\r\nm-init-done\r\nm-ready\r\n"


class FakeModel:
    """Logits that depend on every token since the reset; stands in for the golden and for the board's model."""

    slots = None  # its routing does not look at them
    windows = None  # it takes tokens

    def __init__(self, vocab_size: int = 40, context: int = 24, layers: int = 2, top_k: int = 3) -> None:
        self.vocab_size, self.context, self.layers, self.top_k = vocab_size, context, layers, top_k
        self.reset()

    def reset(self, *, empty_slots: bool = False) -> None:
        self.history: list[int] = []
        self.routes = np.zeros((self.layers, self.top_k), np.uint8)

    def step(self, token: int) -> NDArray[np.float32]:
        self.history.append(token)
        source = np.random.default_rng(self.history)
        self.routes = np.sort(source.integers(0, 8, (self.layers, self.top_k), dtype=np.uint8))
        return source.standard_normal(self.vocab_size).astype(np.float32)

    def prefill(self, tokens: list[int]) -> NDArray[np.float32]:
        return [self.step(token) for token in tokens][-1]


class FakeBoard:
    """Serves one client at a time until `close`.

    Attributes:
        on_step: may change the logits of the n-th step since the start, or raise to say nothing more.
        reset_before: step numbers before which the board starts again, as after a power failure.
        noise: sent to every new client before anything else.
    """

    def __init__(self, **model_sizes: int) -> None:
        self.model = FakeModel(**model_sizes)
        self.build_id, self.model_id, self.abi = BUILD_ID, MODEL_ID, 7
        self.boots = 7
        self.noise = b""
        self.silent = False
        self.on_step: Callable[[int, NDArray[np.float32]], None] = lambda n, logits: None
        self.reset_before: set[int] = set()
        self.wrong_kernel = ""
        self.statuses: dict[int, int] = {}  # request type: status to answer with
        self.garble: Callable[[int, bytes], bytes] = lambda kind, payload: payload
        self.steps = 0
        self.executed = 0
        self._start_again()
        self._server = socket.create_server(("127.0.0.1", 0))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"socket://127.0.0.1:{self.port}"

    @property
    def port(self) -> int:
        return int(self._server.getsockname()[1])

    def close(self) -> None:
        self._stop.set()
        self._thread.join(5)
        self._server.close()

    def __enter__(self) -> "FakeBoard":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start_again(self) -> None:
        self.model.reset()
        self.logits = np.zeros(self.model.vocab_size, np.float32)
        self.counted = 0
        self.answer: list[int] | None = None
        self.last: tuple[int, int, bytes] | None = None

    def _serve(self) -> None:
        while not self._stop.is_set():
            if not select.select([self._server], [], [], 0.02)[0]:
                continue
            client, _ = self._server.accept()
            with client, contextlib.suppress(OSError):
                client.sendall(self.noise)
                self._talk(client)

    def _talk(self, client: socket.socket) -> None:
        reader = FrameReader()
        while not self._stop.is_set():
            if not select.select([client], [], [], 0.02)[0]:
                continue
            data = client.recv(65536)
            if not data:
                return
            for frame in reader.feed(data):
                if not self.silent and (reply := self._answer(frame)):
                    client.sendall(reply)

    def _answer(self, frame: Frame) -> bytes:
        crc = zlib.crc32(bytes((frame.type, frame.sequence)) + frame.payload)
        if frame.sequence and self.last and self.last[:2] == (frame.sequence, crc):
            return self.last[2]
        if frame.type == 0x03 and self.steps in self.reset_before:
            self.reset_before.discard(self.steps)
            self._start_again()
            self.boots += 1
        self.executed += 1
        status = self.statuses.get(frame.type, 0)
        payload = b""
        if not status:
            result = self._execute(frame)
            status, payload = (result, b"") if isinstance(result, int) else (0, result)
        body = self.garble(frame.type, struct.pack("<i", status) + payload)
        reply = encode_frame(Frame(frame.type | 0x80, frame.sequence, body))
        if frame.sequence:
            self.last = (frame.sequence, crc, reply)
        return reply

    def _execute(self, frame: Frame) -> bytes | int:
        handlers: dict[int, Callable[[bytes], bytes | int]] = {
            0x01: self._identify,
            0x02: self._reset,
            0x03: self._step,
            0x04: self._send_logits,
            0x05: self._statistics,
            0x06: self._profile,
            0x07: lambda text: struct.pack(f"<{len(text)}H", *(byte % self.model.vocab_size for byte in text)),
            0x08: self._prompt,
            0x09: self._next,
            0x0C: self._prefill,
            0x0A: lambda _: self.model.routes.tobytes() + bytes(self.model.routes.size),
            0x0B: self._layers,
            0x10: self._score,
            0x11: self._selftest,
        }
        handler = handlers.get(frame.type)
        return handler(frame.payload) if handler else -9

    def _identify(self, _: bytes) -> bytes:
        model = self.model
        sizes = (self.abi, self.boots, model.vocab_size, model.context, model.layers, 8, model.top_k, 4)
        ids = (bytes.fromhex(self.model_id), bytes.fromhex(self.build_id), 1_000_000, 0, 0)
        return struct.pack("<HHIIHHHH32s32sIII", *sizes, *ids) + b"fake_board\0" + b"0.1.0\0"

    def _reset(self, payload: bytes) -> bytes:
        self.model.reset()
        if payload[0] & 2:
            self.counted = 0
        return b""

    def _step(self, payload: bytes) -> bytes | int:
        token = struct.unpack("<I", payload)[0]
        position = len(self.model.history)
        if position >= self.model.context:
            return -2
        if token >= self.model.vocab_size:
            return -3
        self.logits = self.model.step(token)
        self.on_step(self.steps, self.logits)
        self.steps += 1
        self.counted += 1
        crc = zlib.crc32(self.logits.tobytes())
        return struct.pack("<IIIQ", position, int(np.argmax(self.logits)), crc, 1000 + self.steps)

    def _prefill(self, payload: bytes) -> bytes | int:
        reply: bytes | int = -1
        for at in range(0, len(payload), 4):
            reply = self._step(payload[at : at + 4])
            if isinstance(reply, int):
                return reply
        return reply

    def _send_logits(self, payload: bytes) -> bytes | int:
        first, count = struct.unpack("<IH", payload)
        if count > 256 or first + count > self.model.vocab_size:
            return -1
        return self.logits[first : first + count].tobytes()

    def _score(self, payload: bytes) -> bytes | int:
        token = struct.unpack("<I", payload)[0]
        if token >= self.model.vocab_size:
            return -3
        largest = self.logits.max()
        return struct.pack("<fff", self.logits[token], largest, np.exp(self.logits - largest).sum())

    def _selftest(self, payload: bytes) -> bytes:
        self.model.reset()
        name = f"kernel_{payload[0]}"
        return struct.pack("<BQII", 3, 100, 7, 7 if name != self.wrong_kernel else 8) + name.encode() + b"\0"

    def _statistics(self, _: bytes) -> bytes:
        reads = (30, 10, 0, 4096, 77)
        return struct.pack("<IIIIQQIIIIQQIII", self.counted, *reads, 1000, 900, 2048, 1024, 154, 11, 0, 0, 0)

    def _profile(self, payload: bytes) -> bytes:
        first, count = struct.unpack("<HH", payload)
        ops = [struct.pack("<QI", 10 * i, i) for i in range(70)]
        return struct.pack("<H", len(ops)) + b"".join(ops[first : first + count])

    def _layers(self, payload: bytes) -> bytes:
        first, count = struct.unpack("<HH", payload)
        layers = [struct.pack("<IIQQQ", 30, 10, 4096, 154, 77)] * self.model.layers
        return struct.pack("<H", len(layers)) + b"".join(layers[first : first + count])

    def _prompt(self, text: bytes) -> bytes | int:
        if len(text) > self.model.context:
            return -10
        self.model.reset()
        for byte in text:
            self.model.step(byte % self.model.vocab_size)
            self.counted += 1
        self.answer = [*text[:4][::-1]]
        return struct.pack("<H", len(text))

    def _next(self, _: bytes) -> bytes | int:
        if self.answer is None:
            return -10
        if not self.answer:
            return struct.pack("<IB", 2, 1)
        token = self.answer.pop(0)
        return struct.pack("<IB", token, 0) + bytes([token])


class HostileLine:
    """A TCP proxy that drops, flips, doubles, cuts and delays bytes, from a seed.

    Args:
        target: port of the board.
        faults: fault name -> rate for each byte; `cut` and `delay` for each piece.
        babble: what a client hears before anything else.
        sampled_at: rate of the sender over that of the receiver; 1 is a right baud rate.
    """

    def __init__(
        self, target: int, faults: dict[str, float], seed: int, *, babble: bytes = b"", sampled_at: float = 1.0
    ) -> None:
        self._target, self._faults = target, faults
        self._babble, self._sampled_at = babble, sampled_at
        self._random = random.Random(seed)
        self._server = socket.create_server(("127.0.0.1", 0))
        self._stop = threading.Event()
        self.touched = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"socket://127.0.0.1:{self._server.getsockname()[1]}"

    def __enter__(self) -> "HostileLine":
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(5)
        self._server.close()

    def _serve(self) -> None:
        while not self._stop.is_set():
            if not select.select([self._server], [], [], 0.02)[0]:
                continue
            client, _ = self._server.accept()
            board = socket.create_connection(("127.0.0.1", self._target))
            with client, board, contextlib.suppress(OSError):
                client.sendall(self._babble)
                self._carry(client, board)

    def _carry(self, client: socket.socket, board: socket.socket) -> None:
        other = {client: board, board: client}
        while not self._stop.is_set():
            for source in select.select([client, board], [], [], 0.02)[0]:
                data = source.recv(65536)
                if not data:
                    return
                other[source].sendall(self._damage(data))

    def _damage(self, data: bytes) -> bytes:
        if self._sampled_at != 1.0:
            return sample_bits(data, self._sampled_at)
        out = bytearray()
        for byte in data:
            kept = bytes([byte])
            if self._happens("drop"):
                kept = b""
            elif self._happens("flip"):
                kept = bytes([byte ^ 1 << self._random.randrange(8)])
            elif self._happens("double"):
                kept = kept * 2
            out += kept
        if self._happens("cut"):
            del out[self._random.randrange(len(out) + 1) :]
        if self._happens("delay"):
            time.sleep(self._random.uniform(0.02, 0.3))
        return bytes(out)

    def _happens(self, fault: str) -> bool:
        happens = self._random.random() < self._faults.get(fault, 0.0)
        self.touched += happens
        return happens


def sample_bits(data: bytes, rate: float) -> bytes:
    """What a UART makes of 8N1 bytes that were sent at `rate` times its own baud rate."""
    bits = [bit for byte in data for bit in (0, *(byte >> i & 1 for i in range(8)), 1)] + [1] * 20
    out, at = bytearray(), 0.0
    while int(at) < len(bits) - 20:
        if bits[int(at)]:  # idle: waits for a start bit
            at = int(at) + 1
            continue
        taken = [bits[min(len(bits) - 1, int(at + (i + 0.5) * rate))] for i in range(10)]
        out.append(sum(bit << i for i, bit in enumerate(taken[1:9])))
        at += 10 * rate
    return bytes(out)


@contextlib.contextmanager
def listen_silently(talk: bytes = b"", *, repeat: bool = False) -> Iterator[str]:
    """A port behind which nothing speaks frames; sends `talk` to who comes, again and again if asked."""
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            clients: list[socket.socket] = []
            while not stop.is_set():
                if select.select([server], [], [], 0.02)[0]:
                    clients.append(server.accept()[0])
                    clients[-1].sendall(talk)
                for client in clients if repeat else []:
                    with contextlib.suppress(OSError):
                        client.sendall(talk)
            for client in clients:
                client.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"socket://127.0.0.1:{server.getsockname()[1]}"
        finally:
            stop.set()
            thread.join(5)
