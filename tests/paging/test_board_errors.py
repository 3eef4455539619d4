"""Images and drivers that are wrong, on emulated boards: each a named error at the host, a board that lives, no wrong token."""

import contextlib
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from random_model import small_config, write_checkpoint

from mmoe_embed.board import Board, load_board
from mmoe_embed.build import BuildRequest, build_firmware
from mmoe_embed.build_folder import BuildFolder
from mmoe_embed.golden import Golden
from mmoe_embed.plan import PlanRequest
from mmoe_embed.quantized import load_quantized
from mmoe_embed.resources import boards_dir
from mmoe_embed.runners import start_board
from mmoe_embed.serial.client import BoardClient, StatusError
from mmoe_embed.serial.link import Link
from mmoe_embed.serial.port import Port

pytestmark = [pytest.mark.arm, pytest.mark.qemu]

BOARD = "qemu_mps2_an505"


def build(folder: Path, storage: str, board: str = BOARD) -> BuildFolder:
    checkpoint = write_checkpoint(folder / "model", small_config())
    request = BuildRequest(checkpoint, board, folder / "build", "int8", PlanRequest(expert_slots=3, storage=storage))
    return build_firmware(request)


@pytest.fixture(scope="module", params=["mapped", "pl081"])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> BuildFolder:
    return build(tmp_path_factory.mktemp(request.param), request.param)


@contextlib.contextmanager
def run(board: Board, elf: Path) -> Iterator[BoardClient]:
    with start_board(board, elf) as url, Link(Port(url)) as link:
        client = BoardClient(link)
        client.identify(patience_s=20)
        yield client


def change_image(program: BuildFolder, folder: Path, change: dict[int, bytes]) -> Path:
    """The firmware with bytes of its expert image replaced, the header's CRC-32 made right again."""
    image = bytearray((program.path / "gen" / "experts.bin").read_bytes())
    content = bytearray(program.elf.read_bytes())
    at = content.index(bytes(image[:64]))
    for offset, data in change.items():
        image[offset : offset + len(data)] = data
    struct.pack_into("<I", image, 60, zlib.crc32(bytes(image[:60])))
    content[at : at + len(image)] = image
    elf = folder / "changed.elf"
    elf.write_bytes(content)
    return elf


def test_image_of_another_build_is_named(program: BuildFolder, tmp_path: Path) -> None:
    elf = change_image(program, tmp_path, {24: b"\xab" * 32})
    with run(load_board(BOARD), elf) as client:
        for _ in range(2):
            with pytest.raises(StatusError, match="MMOE_E_IMAGE"):
                client.step(1)
        assert client.encode("call mum")
        assert client.statistics().steps == 0


@pytest.mark.parametrize("pages", [1, 12])
def test_image_cut_short_is_named(program: BuildFolder, tmp_path: Path, pages: int) -> None:
    """The last pages were never written: flash that is erased. Tokens that need them fail, others have the golden's bits."""
    image = (program.path / "gen" / "experts.bin").read_bytes()
    end = struct.unpack_from("<I", image, 64 + 12 * (12 - pages))[0]
    elf = change_image(program, tmp_path, {end: b"\xff" * (len(image) - end)})
    compare_with_lost(program, elf, set(range(12 - pages, 12)))


def test_damaged_page_is_named_and_the_board_lives(program: BuildFolder, tmp_path: Path) -> None:
    image = (program.path / "gen" / "experts.bin").read_bytes()
    at = struct.unpack_from("<I", image, 64 + 12 * 7)[0] + 20
    compare_with_lost(program, change_image(program, tmp_path, {at: bytes([image[at] ^ 0x10])}), {7})


def compare_with_lost(program: BuildFolder, elf: Path, lost: set[int]) -> None:
    golden = Golden(load_quantized(program.quantized))
    failed = right = 0
    with run(load_board(BOARD), elf) as client:
        for token in range(0, 300, 12):
            client.reset()
            golden.reset()
            expected = golden.step(token)
            used = {6 * layer + int(expert) for layer in range(2) for expert in golden.routes[layer]}
            if used & lost:
                with pytest.raises(StatusError, match="MMOE_E_PAGE_CRC"):
                    client.step(token)
                failed += 1
            else:
                assert client.checked_logits(client.step(token)).tobytes() == expected.tobytes()
                right += 1
        assert client.statistics().load_errors == failed > 0
    assert right > 0 or len(lost) == 12


def change_board(folder: Path, name: str, change: dict[str, str]) -> Path:
    """The board's file with words replaced, under another name."""
    text = (boards_dir() / f"{BOARD}.toml").read_text()
    for old, new in {f'name = "{BOARD}"': f'name = "{name}"', **change}.items():
        assert old in text
        text = text.replace(old, new)
    file = folder / f"{name}.toml"
    file.write_text(text)
    return file


def test_engine_whose_interrupt_never_comes_is_a_time_out(tmp_path: Path) -> None:
    """A board file with the interrupt of another engine: reads never end, the board says so and lives."""
    # at 64 ns an instruction, so that the second that a read may take is not 10^9 of them
    file = change_board(tmp_path, "deaf", {"irq = 58": "irq = 61", "shift=0": "shift=6"})
    deaf = build(tmp_path, "pl081", str(file))
    with run(load_board(file), deaf.elf) as client:
        for _ in range(2):
            with pytest.raises(StatusError, match="MMOE_E_PAGE_TIMEOUT"):
                client.step(1)
        assert client.statistics().load_errors == 2
        assert client.encode("call mum")


def test_engine_that_fails_is_named(tmp_path: Path) -> None:
    """An engine that reports an error, and one that reports the end of a copy that it has not made (a short read).

    QEMU's PL081 never sets its error status: it drops what the bus answers (hw/dma/pl080.c). So memory stands where the
    driver looks for the registers, with the engine's status in it, and bytes on the UART's combined interrupt interrupt.
    """
    change = {"base = 0x5011_0000": "base = 0x3000_0000", "irq = 58": "irq = 42"}
    failing = build(tmp_path, "pl081", str(change_board(tmp_path, "failing", change)))
    for address, status in ((0x3000_000C, "MMOE_E_PAGE_READ"), (0x3000_0004, "MMOE_E_PAGE_CRC")):
        loader = f'"-device", "loader,addr={address:#x},data=1,data-len=4"'
        file = change_board(tmp_path, "failing", {**change, '"shift=0"': f'"shift=0", {loader}'})
        with run(load_board(file), failing.elf) as client:
            for _ in range(2):
                with interrupting(client.link.port), pytest.raises(StatusError, match=status):
                    client.step(1)
            assert client.statistics().load_errors == 2
            assert client.encode("call mum")


@contextlib.contextmanager
def interrupting(port: Port) -> Iterator[None]:
    """Ends of empty frames, which mean nothing, until the board has answered."""
    answered = threading.Event()

    def send() -> None:
        while not answered.wait(0.02):
            port.write(b"\0")

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        answered.set()
        thread.join()
