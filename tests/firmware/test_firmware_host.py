"""The firmware as a program: the golden's bits over the real protocol, and what happens when things are wrong."""

import contextlib
import dataclasses
import math
import re
import shutil
import signal
import socket
import struct
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import numpy as np
import pytest
from emitted import Models
from images import build_host

from mmoe_embed.golden import Golden
from mmoe_embed.paging.placement import Placement
from mmoe_embed.paging.slots import Slots
from mmoe_embed.sampling import Sampling
from mmoe_embed.serial.client import BoardClient, StatusError
from mmoe_embed.serial.frames import Frame, FrameReader, encode_frame
from mmoe_embed.serial.link import Link
from mmoe_embed.serial.port import Port
from mmoe_embed.tokens import build_tables

pytestmark = pytest.mark.gcc

CONTEXT = 48
TEXTS = ["wake me at ten past six", "call mum", "how far did i run this week", "", "é火 %", "x" * 30]


@contextlib.contextmanager
def serve(program: Path) -> Iterator[int]:
    """Runs the program; yields its port. It must end cleanly on SIGTERM, with nothing on standard error."""
    process = subprocess.Popen([program, "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout
    try:
        found = re.fullmatch(rb"listening on 127\.0\.0\.1:(\d+)\n", process.stdout.readline())
        assert found, process.communicate()
        yield int(found[1])
    finally:
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, b"")


@contextlib.contextmanager
def client_of(program: Path) -> Iterator[BoardClient]:
    with serve(program) as port, Link(Port(f"socket://127.0.0.1:{port}")) as link:
        client = BoardClient(link)
        client.identify()
        yield client


def compare_steps(client: BoardClient, golden: Golden, tokens: list[int]) -> None:
    """Feeds both the same tokens and compares the bits of the logits, the routes and the choice."""
    client.reset()
    golden.reset()
    for token in tokens:
        step, expected = client.step(token), golden.step(token)
        assert client.checked_logits(step).tobytes() == expected.tobytes()
        assert step.argmax == int(np.argmax(expected))
        if golden.config.num_experts:
            assert (client.routes().experts == golden.routes).all()


def random_tokens(count: int = CONTEXT) -> list[int]:
    return [int(token) for token in np.random.default_rng(4).integers(300, size=count)]


VARIANTS = [
    (0, "lru", "int4", False),
    (3, "lru", "int4", False),
    (4, "lfu", "int4", False),
    (12, "lru", "int4", False),
    (5, "lfu", "int8", False),
    (None, "lru", "int8", True),
]


@pytest.mark.parametrize(("slots", "policy", "scheme", "dense"), VARIANTS)
def test_program_has_the_goldens_bits(models: Models, slots: int | None, policy: str, scheme: str, dense: bool) -> None:
    golden = Golden(models.model(scheme, dense))
    with client_of(models.host(slots, policy, scheme, dense)) as client:
        compare_steps(client, golden, random_tokens())
        for text in TEXTS:
            assert client.encode(text) == golden.encode(text)
            assert [token.token for token in client.stream(text)] == list(golden.stream(text))


# the small model has 2 layers of 6 experts, 2 a token
PLACEMENTS = {
    "residents": (5, Placement(residents=(1, 8))),
    "in place": (4, Placement(in_place=(0, 3, 11))),
    "slots of each layer": (7, Placement(layer_slots=(4, 3))),
    "flash order": (3, Placement(flash_order=tuple(reversed(range(12))))),
    "prefetch": (5, Placement(prefetch=2)),
    "all": (
        8,
        Placement(
            residents=(2,), in_place=(5, 6), layer_slots=(5, 3), flash_order=(*range(6, 12), *range(6)), prefetch=1
        ),
    ),
}


@pytest.mark.parametrize("what", PLACEMENTS)
def test_placement_of_experts_changes_no_bit(models: Models, what: str) -> None:
    golden = Golden(models.model())
    slots, paging = PLACEMENTS[what]
    with client_of(models.host(slots, "lfu", paging=paging)) as client:
        compare_steps(client, golden, random_tokens())
        statistics, layers = client.statistics(), client.layers()
        assert len(layers) == 2
        assert sum(layer.hits for layer in layers) == statistics.hits
        assert sum(layer.bytes_loaded for layer in layers) == statistics.bytes_loaded > 0
        assert statistics.load_errors == 0
        if paging.prefetch:
            assert 0 < statistics.prefetch_used <= statistics.prefetched
        else:
            assert statistics.prefetched == 0


# slots, policy, placement, chunk: of cache-aware routing
AWARE = {
    "wait": (4, "wait", Placement(), 1),
    "lfu, a chunk": (5, "lfu", Placement(), 7),
    "slots of each layer": (7, "lru", Placement(layer_slots=(4, 3)), 32),
    "all": (9, "wait", Placement(residents=(2, 7), in_place=(5, 6), layer_slots=(5, 4)), 4),
}


@pytest.mark.parametrize("what", AWARE)
def test_cache_aware_routing_has_the_goldens_bits(models: Models, what: str) -> None:
    """Steps, pieces of prompts of any length and whole answers, the slots warm from one to the next."""
    slots, policy, placement, chunk = AWARE[what]
    paging = dataclasses.replace(placement, cache_margin=0.1)
    config = models.model().config
    golden, plain = Golden(models.model(), Slots(config, slots, policy, paging, chunk)), Golden(models.model())
    other_routes = 0
    with client_of(models.host(slots, policy, paging=paging, chunk=chunk)) as client:
        client.reset(empty_slots=True, clear_statistics=True)
        for seed in range(3):
            client.reset()
            golden.reset()
            plain.reset()
            source = np.random.default_rng(seed)
            left = CONTEXT
            while left:
                piece = source.integers(300, size=min(left, int(source.integers(1, 12)))).tolist()
                left -= len(piece)
                if source.random() < 0.5:
                    assert client.checked_logits(client.prefill(piece)).tobytes() == golden.prefill(piece).tobytes()
                    plain.prefill(piece)
                    continue
                for token in piece:
                    expected, _ = golden.step(token), plain.step(token)
                    assert client.checked_logits(client.step(token)).tobytes() == expected.tobytes()
                    assert (client.routes().experts == golden.routes).all()
                    other_routes += int((golden.routes != plain.routes).any())
            for text in TEXTS:
                assert [token.token for token in client.stream(text)] == list(golden.stream(text))
    assert other_routes > 10


def test_cache_aware_routing_favours_only_experts_within_the_margin(models: Models) -> None:
    """With a margin of 1 whatever is loaded wins; with a tiny one the bits are those without any."""
    model = models.model()
    plain, expected = Golden(model), []
    for token in random_tokens(20):
        expected.append(plain.step(token).tobytes())
    for margin, same in ((1e-6, True), (1.0, False)):
        paging = Placement(cache_margin=margin)
        golden = Golden(model, Slots(model.config, 6, "wait", paging, 1))
        with client_of(models.host(6, "wait", paging=paging, chunk=1)) as client:
            client.reset(empty_slots=True, clear_statistics=True)
            for token, bits in zip(random_tokens(20), expected, strict=True):
                logits = client.checked_logits(client.step(token)).tobytes()
                assert logits == golden.step(token).tobytes()
                assert not same or logits == bits
            if not same:  # what the first tokens loaded is all that is ever used
                assert client.statistics().misses <= 6


@pytest.mark.parametrize("chunk", [1, 3, 7, 32])
@pytest.mark.parametrize(("slots", "policy", "scheme", "dense"), VARIANTS)
def test_prefill_has_the_goldens_bits(
    models: Models, slots: int | None, policy: str, scheme: str, dense: bool, chunk: int
) -> None:
    """Pieces of any length: logits and routes of each one's last token, then of the steps that follow."""
    golden = Golden(models.model(scheme, dense))
    with client_of(models.host(slots, policy, scheme, dense, chunk=chunk)) as client:
        for pieces in ((5, 1, 9, 2), (17,), (CONTEXT - 4,), (1, 33)):
            client.reset()
            golden.reset()
            rest = random_tokens()
            for count in pieces:
                piece, rest = rest[:count], rest[count:]
                for token in piece:
                    expected = golden.step(token)
                assert client.checked_logits(client.prefill(piece)).tobytes() == expected.tobytes()
                assert (client.routes().experts == golden.routes).all()
            expected = golden.step(rest[0])
            assert client.checked_logits(client.step(rest[0])).tobytes() == expected.tobytes()


def test_whole_chunks_of_tokens_that_share_experts_have_the_goldens_bits(models: Models) -> None:
    """A chunk of 20 takes 5 tokens through an expert at once; 9 that chose it once overran that."""
    golden = Golden(models.model())
    generator = np.random.default_rng(20)
    with client_of(models.host(4, chunk=20)) as client:
        for _ in range(12):
            prompt = [int(token) for token in generator.integers(0, golden.config.vocab_size, 20)]
            client.reset()
            golden.reset()
            logits = client.checked_logits(client.prefill(prompt))
            assert logits.tobytes() == golden.prefill(prompt).tobytes()


def test_prefill_computes_the_head_once_and_loads_each_expert_once_a_chunk(models: Models) -> None:
    with client_of(models.host(4, chunk=8)) as client:
        client.reset(empty_slots=True, clear_statistics=True)
        client.prefill(random_tokens(20))
        passes = [op.calls for op in client.profile()]
        assert (passes[0], passes[-1]) == (3, 1)
        statistics = client.statistics()
        assert statistics.steps == 20
        assert statistics.hits + statistics.misses <= 3 * 2 * 6  # passes, layers, experts


def test_drawn_answers_are_the_goldens(models: Models) -> None:
    golden = Golden(models.model())
    with client_of(models.host(4, chunk=8)) as client:
        answers = set()
        for seed, (temperature, top_k) in enumerate([(0.7, 0), (1.0, 5), (2.0, 40), (1000.0, 0), (0.001, 0), (1.5, 1)]):
            sampling = Sampling(temperature, top_k, seed)
            answer = [token.token for token in client.stream("call mum", sampling)]
            assert answer == list(golden.stream("call mum", sampling))
            answers.add(tuple(answer))
        greedy = list(golden.stream("call mum"))
        assert answer == greedy  # top_k 1
        assert [token.token for token in client.stream("call mum")] == greedy  # drawn only where it was asked for
        assert len(answers) >= 3
        for bad in ((-1.0, 0, 0), (0.0001, 0, 0), (math.nan, 0, 0), (2000.0, 0, 0)):
            assert client.link.request(0x0E, struct.pack("<fII", *bad)) == struct.pack("<i", -1)
        assert client.link.request(0x0E, b"123") == struct.pack("<i", -1)


def test_prefill_refuses_what_does_not_fit(models: Models) -> None:
    golden = Golden(models.model())
    with client_of(models.host(3, chunk=4)) as client:
        client.reset()
        for tokens, name in (([1, 2, 300], "TOKEN"), ([1] * (CONTEXT + 1), "CONTEXT"), ([], "ARGUMENT")):
            with pytest.raises(StatusError, match=f"MMOE_E_{name}"):
                client.prefill(tokens)
            client.reset()
        assert client.link.request(0x0C, b"abcde") == struct.pack("<i", -1)
        for token in random_tokens(5):
            expected = golden.step(token)
        assert client.checked_logits(client.prefill(random_tokens(5))).tobytes() == expected.tobytes()


def test_identity_statistics_and_profile(models: Models) -> None:
    with client_of(models.host(3)) as client:
        identity = client.identify()
        assert (
            identity.vocab_size,
            identity.context,
            identity.layers,
            identity.experts,
            identity.top_k,
            identity.slots,
        ) == (300, CONTEXT, 2, 6, 2, 3)
        assert identity.model_id == models.model().model_id
        assert (identity.board, identity.firmware_version, identity.tick_hz) == ("host", "test", 10**9)
        client.reset(empty_slots=True, clear_statistics=True)
        for token in random_tokens(10):
            client.step(token)
        statistics = client.statistics()
        assert statistics.steps == 10
        assert statistics.hits + statistics.misses == 10 * 2 * 2
        assert statistics.misses > 0
        assert 0 < statistics.arena_used <= statistics.arena_bytes
        profile = client.profile()
        assert {op.calls for op in profile} == {10}
        assert all(op.ticks > 0 for op in profile)
        client.reset(clear_statistics=True)
        assert client.statistics().steps == 0
        assert client.profile()[0].ticks == 0


def test_hit_flags_are_those_of_resident_experts(models: Models) -> None:
    with client_of(models.host(12)) as client:
        client.reset(empty_slots=True)
        client.step(5)
        assert not client.routes().hits.any()
        client.reset()
        client.step(5)
        assert client.routes().hits.all()


def test_full_context_and_wrong_arguments_are_named(models: Models) -> None:
    with client_of(models.host(3)) as client:
        client.reset()
        with pytest.raises(StatusError, match="MMOE_E_TOKEN"):
            client.step(300)
        for token in random_tokens():
            client.step(token)
        with pytest.raises(StatusError, match="MMOE_E_CONTEXT"):
            client.step(1)
        with pytest.raises(StatusError, match="MMOE_E_NO_PROMPT"):
            client.next_token()  # a step ends a prompt
        with pytest.raises(StatusError, match="MMOE_E_TEXT"):
            client.prompt("many words " * 60)
        with pytest.raises(StatusError, match="MMOE_E_TEXT"):
            client.encode("y" * 1000)
        assert client.encode("y" * 400)
        with pytest.raises(StatusError, match="MMOE_E_TEXT"):
            client.prompt("y" * 1000)
        ask = client.link.request
        for kind, payload in (
            (2, b""),
            (3, b"abc"),
            (4, struct.pack("<IH", 299, 2)),
            (4, struct.pack("<IH", 0, 257)),
            (4, struct.pack("<IH", 0xFFFFFFFF, 2)),
            (6, struct.pack("<HH", 0, 65)),
            (6, struct.pack("<HH", 99, 1)),
        ):
            assert ask(kind, payload) == struct.pack("<i", -1)
        assert ask(0x7E) == struct.pack("<i", -9)


def test_prompt_that_fills_the_context_ends(models: Models) -> None:
    golden = Golden(models.model())
    with client_of(models.host(3)) as client:
        for length in range(CONTEXT - 8, CONTEXT - 1):
            text = " z" * ((length - 1) // 2)
            assert [token.token for token in client.stream(text)] == list(golden.stream(text))


class Wire:
    """The bytes themselves."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.reader = FrameReader()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def ask(self, data: bytes, replies: int = 1) -> list[Frame]:
        self.socket.sendall(data)
        frames: list[Frame] = []
        while len(frames) < replies:
            frames += self.reader.feed(self.socket.recv(4096))
        return frames

    def text(self, data: bytes) -> bytes:
        self.socket.sendall(data)
        received = b""
        while not received.endswith(b"m-ready\r\n"):
            received += self.socket.recv(4096)
        return received


def step_frame(sequence: int, token: int) -> bytes:
    return encode_frame(Frame(3, sequence, struct.pack("<I", token)))


def test_repeated_request_is_answered_from_memory(models: Models) -> None:
    with serve(models.host(3)) as port, Wire(port) as wire:
        wire.ask(encode_frame(Frame(2, 1, b"\0")))
        first, again = wire.ask(step_frame(2, 7) * 2, replies=2)
        assert first == again
        position = struct.unpack_from("<iI", wire.ask(step_frame(3, 7))[0].payload)
        assert position == (0, 1)
        other = wire.ask(step_frame(3, 8))[0]  # the same sequence, another request
        assert struct.unpack_from("<iI", other.payload) == (0, 2)
        wire.ask(encode_frame(Frame(1, 0, b"")) * 3, replies=3)  # identify is always executed


def test_damaged_requests_are_not_answered(models: Models) -> None:
    good = step_frame(5, 7)
    with serve(models.host(3)) as port, Wire(port) as wire:
        wire.ask(encode_frame(Frame(2, 1, b"\0")))
        bad = bytes([*good[:6], good[6] ^ 1, *good[7:]])
        replies = wire.ask(bad + good[:-5] + b"\0" + b"noise" + b"\0" + b"\xff" * 3000 + b"\0" + good)
        assert [reply.sequence for reply in replies] == [5]
        assert struct.unpack_from("<iI", replies[0].payload) == (0, 0)
        assert (
            wire.ask(encode_frame(Frame(0x83, 6, b"")) + encode_frame(Frame(3, 0, b"\0\0\0\0")) + step_frame(7, 1))[
                0
            ].sequence
            == 7
        )


def answer_bytes(models: Models, text: str) -> bytes:
    """What the text plane prints for the golden's answer: the tokens' bytes, controls as spaces."""
    model = models.model()
    texts = build_tables(model.tokenizer, model.config.vocab_size).text
    joined = b"".join(texts[token] for token in Golden(model).stream(text))
    return bytes(max(byte, 0x20) for byte in joined)


def test_text_commands(models: Models) -> None:
    model_id = models.model().model_id[:8]
    with serve(models.host(3)) as port, Wire(port) as wire:
        assert wire.text(b"name%") == b"m-name-dut-[mmoe-embed]\r\nm-ready\r\n"
        assert (
            wire.text(b"\r\nprofile%")
            == f"m-profile-[mmoe-embed test host]\r\nm-model-[{model_id}]\r\nm-ready\r\n".encode()
        )
        first, second = (
            int(re.fullmatch(rb"m-lap-us-(\d+)\r\nm-ready\r\n", wire.text(b"timestamp%"))[1]) for _ in range(2)
        )  # type: ignore[index]
        assert first <= second < first + 10_000_000
        assert wire.text(b"nonsense%") == b"e-[Unknown command: nonsense]\r\nm-ready\r\n"
        assert wire.text(b"names%").startswith(b"e-[")
        assert wire.text(b"x" * 300 + b"%").startswith(b"e-[A command has at most")
        assert wire.text(b"help%").count(b"\r\n") == 9
        answer = wire.text(b"prompt call mum%")
        assert answer == answer_bytes(models, "call mum") + b"\r\nm-ready\r\n"
        assert wire.text(b"prompt " + b"many words " * 20 + b"%").endswith(b"e-[Status -10]\r\nm-ready\r\n")
        assert wire.ask(encode_frame(Frame(1, 0, b"")))[0].type == 0x81


def test_next_client_is_served_after_half_a_request(models: Models) -> None:
    with serve(models.host(3)) as port:
        for _ in range(3):
            with Wire(port) as wire:
                wire.socket.sendall(b"\0\x20half a fr")
        with Wire(port) as wire:
            assert wire.text(b"name%").startswith(b"m-name")


def test_banner_and_end_on_standard_streams(models: Models) -> None:
    done = subprocess.run([models.host(3), "--stdio"], input=b"name%", capture_output=True, timeout=20, check=True)
    assert re.fullmatch(
        rb"m-timestamp-mode-performance\r\nm-lap-us-\d+\r\nm-init-done\r\nm-ready\r\n"
        rb"m-name-dut-\[mmoe-embed\]\r\nm-ready\r\n",
        done.stdout,
    )


@pytest.mark.parametrize(
    "arguments",
    [["--listen"], ["--what"], ["--listen", "0.0.0.0:0"], ["--listen", "127.0.0.1:99999"], ["--listen", "127.0.0.1:x"]],
)
def test_wrong_arguments_are_refused(models: Models, arguments: list[str]) -> None:
    done = subprocess.run([models.host(3), *arguments], capture_output=True, timeout=20, check=False)
    assert done.returncode in (1, 2)
    assert done.stderr


def _patched(program: Path, output: Path, offset: int, data: bytes) -> Path:
    """The program with bytes of its expert image replaced."""
    content = bytearray(program.read_bytes())
    image = content.index(b"MMOE\x01\x00\x40\x00")
    content[image + offset : image + offset + len(data)] = data
    if 8 <= offset < 60:
        content[image + 60 : image + 64] = struct.pack("<I", zlib.crc32(bytes(content[image : image + 60])))
    output.write_bytes(content)
    output.chmod(0o755)
    return output


def test_image_of_another_model_is_named_and_identify_lives(models: Models, tmp_path: Path) -> None:
    program = _patched(models.host(3), tmp_path / "program", 24, b"\xab" * 32)
    with client_of(program) as client:
        for ask in (lambda: client.step(1), lambda: client.prompt("call"), client.next_token):
            with pytest.raises(StatusError, match="MMOE_E_IMAGE"):
                ask()
        assert client.identify().layers == 2
        assert client.statistics().steps == 0
        assert client.encode("call mum")


def test_model_of_another_abi_answers_what_needs_no_model(models: Models, tmp_path: Path) -> None:
    gen = shutil.copytree(models.emit(3), tmp_path / "gen")
    model = (gen / "model.c").read_text()
    (gen / "model.c").write_text(model.replace(".abi = MMOE_ABI,", ".abi = MMOE_ABI + 1,"))
    with client_of(build_host(gen, tmp_path / "program", flags=("-O1", "-fsanitize=address,undefined"))) as client:
        with pytest.raises(StatusError, match="MMOE_E_IMAGE"):
            client.step(1)
        client.reset(empty_slots=True, clear_statistics=True)
        assert client.statistics().steps == 0
        assert len(client.layers()) == 2


def test_large_buffers_begin_at_multiples_of_16(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    gen = models.emit(3)
    shifted = Path(__file__).parent / "c" / "shifted_memory.c"
    program = build_host(gen, gen / "shifted", memory=shifted)
    with client_of(program) as client:
        client.step(1)
    for buffer, bytes_ in (("ARENA", 4), ("KV", 8), ("SLOTS", 12)):
        with monkeypatch.context() as environment:
            environment.setenv(buffer, str(bytes_))
            with client_of(program) as client:
                with pytest.raises(StatusError, match="MMOE_E_ARGUMENT"):
                    client.step(1)
                assert client.identify().layers == 2


@pytest.mark.parametrize("slots", [0, 3, 12])
def test_damaged_page_is_named_and_the_board_lives(models: Models, tmp_path: Path, slots: int) -> None:
    """One expert is damaged: tokens that need it fail by name, all others have the golden's bits."""
    gen = models.emit(slots)
    image = (gen / "experts.bin").read_bytes()
    damaged = 7  # layer 1, expert 1
    offset = struct.unpack_from("<I", image, 64 + 12 * damaged)[0] + 20
    program = _patched(models.host(slots), tmp_path / "program", offset, bytes([image[offset] ^ 0x10]))
    golden = Golden(models.model())
    failed = right = 0
    with client_of(program) as client:
        for token in range(0, 300, 7):
            client.reset()
            golden.reset()
            expected = golden.step(token)
            if 1 in golden.routes[1]:
                with pytest.raises(StatusError, match="MMOE_E_PAGE_CRC"):
                    client.step(token)
                failed += 1
            else:
                assert client.checked_logits(client.step(token)).tobytes() == expected.tobytes()
                right += 1
        assert client.statistics().load_errors == failed
    assert failed > 3
    assert right > 3
