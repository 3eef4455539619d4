"""Host programs of phone-sized models against each other, and against the memory's bandwidth: ratios of one run."""

import contextlib
import dataclasses
import random
import statistics
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from mmoe_embed.bench.memory_limit import drop_from_cache, limit_memory
from mmoe_embed.bench.rounds import Ratio, compare_rounds
from mmoe_embed.board import Board, load_board
from mmoe_embed.build_folder import BuildFolder
from mmoe_embed.errors import ToolchainError, UsageError
from mmoe_embed.quantized import load_quantized
from mmoe_embed.runners.emulated import HOST_READY, make_host_command
from mmoe_embed.runners.process import start_process
from mmoe_embed.serial.client import MAX_PREFILL, BoardClient
from mmoe_embed.serial.link import Link
from mmoe_embed.serial.port import DEFAULT_BAUD, Port
from mmoe_embed.toolchain import find_toolchain
from mmoe_embed.traffic import TokenBytes, count_token_bytes

STREAM_BYTES = 1 << 29
_START_S = 120.0
_PATIENCE_S = 300.0  # of a pass over a prompt on a busy machine


@dataclasses.dataclass(frozen=True)
class Request:
    """What is measured.

    Attributes:
        threads: of each program.
        prefill: tokens of the prompt.
        contexts: tokens in the KV cache before each run of decoded tokens; rising.
        decoded: tokens of such a run.
        rounds: each measures every build once, in turn.
        limit_bytes: of memory for a program, its file pages included; None for no limit.
    """

    threads: int = 2
    prefill: int = 256
    contexts: tuple[int, ...] = (256, 1024)
    decoded: int = 16
    rounds: int = 3
    limit_bytes: int | None = None


@dataclasses.dataclass(frozen=True)
class Speed:
    """Tokens a second over the first build's, by the fastest rounds and by the middle ones; the first build is 1.

    Attributes:
        fastest_ns, median_ns: of a token; of this run only, another run has its own.
    """

    ratio: float
    median_ratio: float
    fastest_ns: float
    median_ns: float


@dataclasses.dataclass(frozen=True)
class DecodeSpeed:
    """Decoded tokens at one context."""

    context: int
    speed: Speed
    token_bytes: int
    bandwidth_ratio: float  # the fastest round's bytes a second over the stream's
    hit_rate: float | None  # of experts, over all rounds; None where none are paged


@dataclasses.dataclass(frozen=True)
class BuildSpeed:
    """One build."""

    build: str
    model: str
    expert_mode: str
    slots: int
    prefill: Speed
    decode: tuple[DecodeSpeed, ...]


@dataclasses.dataclass(frozen=True)
class PhoneBench:
    """All builds of one run."""

    stream_bytes_per_s: float
    request: Request
    builds: tuple[BuildSpeed, ...]


def measure_stream(board: Board, threads: int, size_bytes: int = STREAM_BYTES) -> float:
    """Bytes a second that this machine reads from memory, at its fastest of some times.

    Raises:
        ToolchainError: no compiler.
    """
    toolchain = find_toolchain(board)
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "stream"
        source = Path(__file__).parent / "firmware" / "stream.c"
        command = [*toolchain.command, "-O3", "-mavx2"] if board.core.core == "x86-64" else [*toolchain.command, "-O3"]
        done = subprocess.run(
            [*command, str(source), "-lpthread", "-o", str(program)], capture_output=True, check=False
        )
        if done.returncode:
            raise ToolchainError("the stream program could not be built", at=done.stderr.decode()[-500:])
        run = subprocess.run([program, str(threads), str(size_bytes)], capture_output=True, text=True, check=True)
    return size_bytes * 1e9 / int(run.stdout.split()[0])


def measure_builds(builds: Sequence[BuildFolder], request: Request) -> PhoneBench:
    """Measure every build in every round.

    Args:
        builds: of host boards, for this machine.
        request: what is measured.

    Raises:
        UsageError: a build is of another machine, or its context is too short.
        ToolkitError: the limit of memory cannot be set.
    """
    boards = [load_board(build.board) for build in builds]
    for build, board in zip(builds, boards, strict=True):
        _check(build, board, request)
    moved = [_token_bytes(build, request.contexts) for build in builds]
    stream = measure_stream(boards[0], request.threads)
    prefills: list[list[float]] = [[] for _ in builds]
    decodes: list[list[list[float]]] = [[[] for _ in request.contexts] for _ in builds]
    hits: list[list[list[int]]] = [[[0, 0] for _ in request.contexts] for _ in builds]
    for turn in range(request.rounds):
        for number, (build, board) in enumerate(zip(builds, boards, strict=True)):
            with _run(build, board, request) as client:
                _measure(client, request, turn, prefills[number], decodes[number], hits[number])
    speeds = []
    for number, build in enumerate(builds):
        decode = tuple(
            _describe(
                context, _compare(decodes[number][at], decodes[0][at]), moved[number][at], stream, hits[number][at]
            )
            for at, context in enumerate(request.contexts)
        )
        mode, slots = str(build.plan["expert_mode"]), int(build.plan["slots"])
        prefill = _compare(prefills[number], prefills[0])
        speeds.append(BuildSpeed(build.path.name, build.model_id[:16], mode, slots, prefill, decode))
    return PhoneBench(stream, request, tuple(speeds))


def _check(build: BuildFolder, board: Board, request: Request) -> None:
    if board.runner.host is None or len(make_host_command(board, build.elf)) > 1:
        raise UsageError(f"{build.path} is no program of this machine", try_="build --board host_x86_64")
    needed, context = max(request.contexts) + request.decoded, load_quantized(build.quantized).config
    if needed > context.max_position_embeddings:
        raise UsageError(
            f"{build.path} has a context of {context.max_position_embeddings}, {needed} tokens are needed",
            try_="a smaller --context",
        )


def _token_bytes(build: BuildFolder, contexts: Sequence[int]) -> list[TokenBytes]:
    model = load_quantized(build.quantized)
    return [count_token_bytes(model.config, model.scheme, context) for context in contexts]


def with_threads(board: Board, threads: int) -> Board:
    """A host's board whose program is started with so many threads.

    Raises:
        UsageError: the board is no host.
    """
    if board.runner.host is None:
        raise UsageError(f"{board.name} is no host, only there a program has threads", try_="--board host_x86_64")
    host = msgspec.structs.replace(board.runner.host, args=["--threads", str(threads)])
    return msgspec.structs.replace(board, runner=msgspec.structs.replace(board.runner, host=host))


@contextlib.contextmanager
def _run(build: BuildFolder, board: Board, request: Request) -> Iterator[BoardClient]:
    with limit_memory(request.limit_bytes) as prefix:
        if prefix:  # pages that are in memory already would be nobody's
            for file in (build.elf, build.expert_image):
                if file.exists():
                    drop_from_cache(file)
        command = [*prefix, *make_host_command(board, build.elf), "--threads", str(request.threads)]
        with start_process(command, HOST_READY, what="the host program", timeout_s=_START_S) as line:
            found = HOST_READY.search(line)
            assert found
            port = Port(f"socket://127.0.0.1:{found[1]}", DEFAULT_BAUD)
            client = BoardClient(Link(port), step_patience_s=_PATIENCE_S)
            try:
                client.identify(patience_s=_START_S)
                client.require_build(build.model_id, build.build_id)
                yield client
            finally:
                client.close()


def _measure(
    client: BoardClient,
    request: Request,
    turn: int,
    prefill: list[float],
    decode: list[list[float]],
    hits: list[list[int]],
) -> None:
    vocabulary = client.identify().vocab_size
    source = random.Random(turn)

    def draw(count: int) -> list[int]:
        return [source.randrange(vocabulary) for _ in range(count)]

    def feed(count: int) -> int:
        ticks = 0
        for start in range(0, count, MAX_PREFILL):
            ticks += client.prefill(draw(min(MAX_PREFILL, count - start))).ticks
        return ticks

    client.reset()
    feed(min(16, request.prefill))  # caches and threads are warm
    client.reset()
    prefill.append(feed(request.prefill) / request.prefill)
    position = request.prefill
    for at, context in enumerate(request.contexts):
        if context < position:
            client.reset()
            position = 0
        feed(context - position)
        before = client.statistics()
        ticks = [client.step(token).ticks for token in draw(request.decoded)]
        after = client.statistics()
        decode[at].append(statistics.fmean(ticks))
        hits[at][0] += after.hits - before.hits
        hits[at][1] += after.misses - before.misses
        position = context + request.decoded


def _compare(rounds: list[float], first: list[float]) -> Speed:
    ratio = compare_rounds(first, rounds)
    return Speed(ratio.fastest, ratio.median, min(rounds), statistics.median(rounds))


def _describe(context: int, speed: Speed, moved: TokenBytes, stream: float, hits: list[int]) -> DecodeSpeed:
    asked = sum(hits)
    ratio = moved.total * 1e9 / speed.fastest_ns / stream
    return DecodeSpeed(context, speed, moved.total, ratio, hits[0] / asked if asked else None)


def render(bench: PhoneBench) -> str:
    """A table for a person; the first build is 1."""
    request = bench.request
    limit = "no limit of memory" if request.limit_bytes is None else f"{request.limit_bytes} B of memory each"
    lines = [
        f"{request.threads} threads, {request.rounds} rounds in turn, {limit}; ratios are of the fastest rounds, "
        f"medians in brackets; the first build is 1",
        f"{'build':<16}{'experts':<20}{'prefill ' + str(request.prefill):>18}"
        + "".join(f"{'decode at ' + str(context):>20}{'bandwidth':>11}{'hits':>8}" for context in request.contexts),
    ]
    for build in bench.builds:
        experts = build.expert_mode + (f", {build.slots} slots" if build.slots else "")
        line = f"{build.build:<16}{experts:<20}{_pair(build.prefill):>18}"
        for decode in build.decode:
            rate = "" if decode.hit_rate is None else f"{100 * decode.hit_rate:.1f} %"
            line += f"{_pair(decode.speed):>20}{100 * decode.bandwidth_ratio:>9.1f} %{rate:>8}"
        lines.append(line)
    lines.append(
        "bandwidth: bytes that a decoded token touches over its time, of what the stream program reads a second"
    )
    return "\n".join(lines)


def _pair(speed: Speed) -> str:
    return str(Ratio(speed.ratio, speed.median_ratio))
