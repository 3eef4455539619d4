"""Experts in a file: the golden's bits on a thread and with io_uring, memory within its plan, and files that are wrong."""

import contextlib
import os
import re
import resource
import struct
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from random_model import small_config, write_checkpoint

from mmoe_embed.build import BuildRequest, build_firmware
from mmoe_embed.build_folder import BuildFolder
from mmoe_embed.golden import Golden
from mmoe_embed.plan import PlanRequest
from mmoe_embed.quantized import load_quantized
from mmoe_embed.serial.client import BoardClient, StatusError
from mmoe_embed.serial.link import Link
from mmoe_embed.serial.port import Port

pytestmark = pytest.mark.gcc

TOKENS = range(3, 19)


def build(folder: Path, board: str = "host_x86_64", seed: int = 0, **plan: int) -> BuildFolder:
    """A small random model whose experts are read from a file."""
    checkpoint = write_checkpoint(folder / f"model{seed}", small_config(), seed=seed)
    options = {"expert_slots": 3} | plan
    request = BuildRequest(checkpoint, board, folder / f"build{seed}", "int8", PlanRequest(storage="file", **options))
    return build_firmware(request)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> BuildFolder:
    return build(tmp_path_factory.mktemp("file_storage"))


@contextlib.contextmanager
def run(
    program: BuildFolder, *options: object, before: Sequence[str] = (), address_space_bytes: int | None = None
) -> Iterator[tuple[BoardClient, int]]:
    """The program behind a client, and its process id."""

    def limit() -> None:
        if address_space_bytes is not None:
            resource.setrlimit(resource.RLIMIT_AS, (address_space_bytes, address_space_bytes))

    command = [*before, program.elf, *map(str, options)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, preexec_fn=limit)  # noqa: PLW1509
    assert process.stdout
    try:
        found = re.search(rb"127\.0\.0\.1:(\d+)", process.stdout.readline())
        assert found, "it did not start"
        with Link(Port(f"socket://127.0.0.1:{int(found[1])}")) as link:
            client = BoardClient(link)
            client.identify(patience_s=40)
            yield client, process.pid
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def compare(client: BoardClient, program: BuildFolder, tokens: Sequence[int] = TOKENS) -> None:
    golden = Golden(load_quantized(program.quantized))
    client.reset()
    for token in tokens:
        assert client.checked_logits(client.step(token)).tobytes() == golden.step(token).tobytes()


def has_io_uring(program: BuildFolder) -> bool:
    done = subprocess.run(
        [program.elf, "--stdio", "--io", "uring"], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    return b"io_uring" not in done.stderr


@pytest.mark.parametrize("io", ["thread", "uring", "auto"])
def test_program_has_the_goldens_bits(small: BuildFolder, io: str) -> None:
    if io == "uring" and not has_io_uring(small):
        pytest.skip("this CPU has no kernel with io_uring")
    with run(small, "--io", io) as (client, _):
        compare(client, small)
        statistics = client.statistics()
    assert statistics.load_errors == 0
    assert statistics.load_ticks > 0
    assert not small.plan["mapped"]


@pytest.mark.aarch64
def test_aarch64_program_falls_back_to_a_thread(tmp_path: Path) -> None:
    program = build(tmp_path, "linux_aarch64")
    with run(program, before=["qemu-aarch64"]) as (client, _):
        compare(client, program)


def test_experts_are_not_in_the_program(small: BuildFolder) -> None:
    page = (small.path / "gen" / "experts.bin").read_bytes()[-200:]
    assert page not in small.elf.read_bytes()


def test_memory_keeps_to_the_plan_under_a_hard_limit(tmp_path: Path) -> None:
    """16 MB of experts through 6 MB of memory: all that the process maps is within 2 % of the plan, and it cannot have more."""
    config = small_config(
        hidden_size=256, num_hidden_layers=6, num_experts=14, num_experts_per_tok=4, moe_intermediate_size=256,
        shared_expert_intermediate_size=256, head_dim=32, num_attention_heads=4,
    )  # fmt: skip
    checkpoint = write_checkpoint(tmp_path / "model", config)
    options = PlanRequest(storage="file", sram_bytes=6 << 20)
    program = build_firmware(BuildRequest(checkpoint, "host_x86_64", tmp_path / "build", "int8", options))
    assert program.plan["expert_image_bytes"] >= 16e6
    planned = sum(region["size_bytes"] for region in program.plan["regions"])
    assert program.plan["sram_used_bytes"] <= 6 << 20
    for io in ("thread", "auto"):
        with run(program, "--io", io, address_space_bytes=int(1.02 * planned)) as (client, pid):
            compare(client, program, range(10))
            for token in range(20):
                client.step(token)
            assert client.statistics().misses > program.plan["slots"]
            peak = re.search(r"VmPeak:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
        assert peak
        assert 1024 * int(peak[1]) == pytest.approx(planned, rel=0.02)


# --- files that are wrong: each a named error, and a program that lives ------------------------------------------------------


def copy_image(program: BuildFolder, folder: Path) -> Path:
    copy = folder / "experts.bin"
    copy.write_bytes((program.path / "gen" / "experts.bin").read_bytes())
    return copy


def expect_refusal(client: BoardClient, name: str) -> None:
    with pytest.raises(StatusError, match=name):
        client.step(1)
    assert client.identify().layers == 2
    assert client.encode("call mum")


@pytest.mark.parametrize("io", ["thread", "auto"])
@pytest.mark.parametrize("kept", [0, 40, 100, 0.5, -1])
def test_image_cut_short_is_named(small: BuildFolder, tmp_path: Path, io: str, kept: float) -> None:
    image = copy_image(small, tmp_path)
    size = image.stat().st_size
    os.truncate(image, int(size * kept) if isinstance(kept, float) else size + kept if kept < 0 else kept)
    with run(small, "--experts", image, "--io", io) as (client, _):
        # without a whole header the image says nothing of itself: the read failed
        expect_refusal(client, "MMOE_E_PAGE_READ" if kept in (0, 40) else "MMOE_E_IMAGE")


def test_image_of_another_build_is_named(small: BuildFolder, tmp_path: Path) -> None:
    other = build(tmp_path, seed=5)
    with run(small, "--experts", other.path / "gen" / "experts.bin") as (client, _):
        expect_refusal(client, "MMOE_E_IMAGE")


@pytest.mark.parametrize("io", ["thread", "auto"])
def test_file_that_shrinks_is_a_short_read_and_then_lives(small: BuildFolder, tmp_path: Path, io: str) -> None:
    image = copy_image(small, tmp_path)
    content = image.read_bytes()
    with run(small, "--experts", image, "--io", io) as (client, _):
        compare(client, small, [4])
        client.reset(empty_slots=True)
        os.truncate(image, 1000)
        with pytest.raises(StatusError, match="MMOE_E_PAGE_READ"):
            client.step(4)
        assert client.statistics().load_errors >= 1
        with image.open("r+b") as stream:
            stream.write(content)
        compare(client, small)


def test_damaged_page_is_named_and_the_program_lives(small: BuildFolder, tmp_path: Path) -> None:
    image = copy_image(small, tmp_path)
    content = bytearray(image.read_bytes())
    good = bytes(content)
    for expert in range(12):
        content[struct.unpack_from("<I", content, 64 + 12 * expert)[0] + 100] ^= 1
    image.write_bytes(content)
    with run(small, "--experts", image) as (client, _):
        with pytest.raises(StatusError, match="MMOE_E_PAGE_CRC"):
            client.step(1)
        image.write_bytes(good)
        compare(client, small)


def test_missing_file_ends_the_program_with_its_name(small: BuildFolder) -> None:
    done = subprocess.run([small.elf, "--experts", "/nowhere"], capture_output=True, timeout=20, check=False)
    assert done.returncode == 1
    assert b"/nowhere" in done.stderr
