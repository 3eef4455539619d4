"""Frames and text on one stream, in C under the sanitizers, against cobs and zlib."""

import random
import struct
import subprocess
import zlib
from pathlib import Path

import pytest
from cobs import cobs
from emitted import require_tool
from images import FIRMWARE, KERNELS, WARNINGS, run

pytestmark = pytest.mark.gcc

MAX_BODY = 1040


@pytest.fixture(scope="module", params=["gcc", "clang"])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    require_tool(request.param)
    output = tmp_path_factory.mktemp("stream") / "stream"
    # Debian's clang comes without the sanitizers' libraries
    sanitize = ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined") if request.param == "gcc" else ()
    run(
        [
            request.param,
            *WARNINGS,
            "-O1",
            "-g",
            *sanitize,
            f"-I{FIRMWARE / 'include'}",
            f"-I{FIRMWARE / 'src'}",
            f"-I{KERNELS / 'include'}",
            f"-I{KERNELS / 'reference'}",
            Path(__file__).parent / "c/stream.c",
            FIRMWARE / "src/frames.c",
            KERNELS / "reference/mmoe_crc32.c",
            "-o",
            output,
        ]
    )
    return output


def receive(program: Path, stream: bytes) -> list[str]:
    done = subprocess.run([program, "receive"], input=stream, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode("latin-1").splitlines()


def seal(body: bytes) -> bytes:
    return body + struct.pack("<I", zlib.crc32(body))


def frame(body: bytes) -> bytes:
    return b"\0" + cobs.encode(seal(body)) + b"\0"


def random_body(generator: random.Random) -> bytes:
    length = generator.choice([2, 3, 6, 200, 252, 253, 254, 255, 256, 507, 508, 509, MAX_BODY - 4])
    alphabet = generator.choice([b"\0", b"\0\1", bytes(range(256)), b"\xff", bytes(range(1, 256))])
    return bytes([generator.randrange(1, 11), generator.randrange(256)]) + bytes(
        generator.choices(alphabet, k=length - 2)
    )


def test_received_frames_are_those_sent(program: Path) -> None:
    generator = random.Random(1)
    bodies = [random_body(generator) for _ in range(500)]
    lines = receive(program, b"".join(map(frame, bodies)))
    assert lines == [f"frame {seal(body).hex()}" for body in bodies]


def test_sent_frames_are_what_cobs_and_zlib_make(program: Path) -> None:
    generator = random.Random(2)
    bodies = [random_body(generator) for _ in range(500)]
    stream = b"".join(struct.pack("<H", len(body)) + body for body in bodies)
    done = subprocess.run([program, "send"], input=stream, capture_output=True, check=True)
    assert done.stdout == b"".join(map(frame, bodies))


def damage(generator: random.Random, data: bytes) -> bytes:
    """Flips, drops, doubles and inserts bytes."""
    damaged = bytearray(data)
    for _ in range(generator.randrange(1, 4)):
        at = generator.randrange(len(damaged)) if damaged else 0
        match generator.randrange(4):
            case 0 if damaged:
                damaged[at] ^= 1 << generator.randrange(8)
            case 1 if damaged:
                del damaged[at : at + generator.randrange(1, 20)]
            case 2:
                damaged[at:at] = damaged[at : at + generator.randrange(1, 20)]
            case _:
                damaged[at:at] = generator.randbytes(generator.randrange(1, 20))
    return bytes(damaged)


def test_random_frames_never_break_the_receiver(program: Path) -> None:
    """10,000 damaged frames: nothing that was not sent comes out, and what comes after them is received."""
    generator = random.Random(3)
    sent, stream = set(), b""
    for _ in range(10_000):
        body = random_body(generator)[: generator.randrange(2, 60)]
        sent.add(f"frame {seal(body).hex()}")
        stream += damage(generator, frame(body))
    last = bytes([3, 9]) + b"last"
    stream += b"\0" + frame(last)
    lines = receive(program, stream)
    frames = [line for line in lines if line.startswith("frame")]
    assert set(frames[:-1]) <= sent
    assert frames[-1] == f"frame {seal(last).hex()}"


def test_too_long_frames_are_dropped(program: Path) -> None:
    for length in (MAX_BODY - 3, MAX_BODY, 5000):
        good = bytes([1, 0])
        assert receive(program, frame(bytes([1, 1]) + b"x" * (length - 2)) + b"\0" + frame(good)) == [
            f"frame {seal(good).hex()}"
        ]


def test_short_and_empty_frames_are_dropped(program: Path) -> None:
    assert receive(program, b"\0\0\0\1\0\1\1\0" + frame(b"")[:] + frame(b"\1") + b"\0\5abcd\0") == []


def test_half_a_frame_does_not_swallow_the_next(program: Path) -> None:
    good = bytes([3, 5]) + b"good"
    assert receive(program, frame(b"\3\4half")[:-4] + frame(good)) == [f"frame {seal(good).hex()}"]


def test_text_and_frames_share_the_stream(program: Path) -> None:
    body = bytes([8, 1]) + b"name%"
    stream = b"name%\r\n" + frame(body) + b"profile%" + frame(body) + frame(body) + b"\n\ntimestamp%"
    command = f"frame {seal(body).hex()}"
    assert receive(program, stream) == [
        "command name",
        command,
        "command profile",
        command,
        command,
        "command timestamp",
    ]


def test_command_behind_a_stray_zero_is_received(program: Path) -> None:
    assert receive(program, b"\0name%\0\0prompt wake me%") == ["command name", "command prompt wake me"]


def test_long_command_is_refused_and_the_next_received(program: Path) -> None:
    assert receive(program, b"x" * 255 + b"%" + b"x" * 256 + b"%" + b"name%") == [
        "command " + "x" * 255,
        "long",
        "command name",
    ]


def test_frame_that_starts_like_text_is_a_frame(program: Path) -> None:
    body = bytes([7, 0x25]) + b"a" * 33 + b"\0tail%"  # its COBS code is 37, a percent sign
    assert frame(body)[1] in (0x24, 0x25)
    assert receive(program, frame(body)) == [f"frame {seal(body).hex()}"]
