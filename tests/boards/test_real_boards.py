"""Every real board links a whole image that lies inside its memories; the bytes that start it are where they must be."""

import shutil
import struct
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from random_model import small_config, write_checkpoint

from mmoe_embed.board import list_boards, load_board
from mmoe_embed.build import BuildRequest, build_firmware
from mmoe_embed.port import describe_port
from mmoe_embed.runners.fit import check_image_fits

REAL = [name for name in list_boards() if load_board(name).kind == "hardware"]
# a core, a console and a boot of each kind; the others are marked slow
DEFAULT = ("st_stm32f4discovery", "raspberrypi_pico2", "st_stm32n6570_dk")
BOARDS = [pytest.param(name, marks=[] if name in DEFAULT else [pytest.mark.slow]) for name in REAL]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("model"), small_config())


def read_word(elf: Path, address: int) -> int:
    with elf.open("rb") as stream:
        for segment in ELFFile(stream).iter_segments():
            offset = address - segment["p_paddr"]
            if segment["p_type"] == "PT_LOAD" and 0 <= offset <= segment["p_filesz"] - 4:
                return int(struct.unpack_from("<I", segment.data(), offset)[0])
    raise AssertionError(f"no byte at 0x{address:08x}")


def symbol(elf: Path, name: str) -> int:
    with elf.open("rb") as stream:
        (found,) = ELFFile(stream).get_section_by_name(".symtab").get_symbol_by_name(name)
        return int(found["st_value"])


@pytest.mark.arm
@pytest.mark.parametrize("name", BOARDS)
def test_build_real_board_links_and_fits(name: str, checkpoint: Path, tmp_path: Path) -> None:
    if shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("arm-none-eabi-gcc is not installed")
    board = load_board(name)
    elf = build_firmware(BuildRequest(checkpoint, name, tmp_path / name)).elf
    used = check_image_fits(board, elf)
    text, stack = board.memory_for("text"), board.memory_for("stack")
    assert 0 < used[text.name] <= text.usable_bytes
    # the core's first two reads: the stack's top, which lies in RAM, and the reset handler, odd for Thumb
    assert stack.base < read_word(elf, text.base) <= stack.base + stack.size
    assert read_word(elf, text.base + 4) == symbol(elf, "Reset_Handler") | 1
    assert board.console.rx_irq is not None
    handler = read_word(elf, text.base + 4 * (16 + board.console.rx_irq))
    assert handler == symbol(elf, "uart_irq_handler") | 1
    if board.soc.name == "rp2350":  # the boot ROM looks for its block in the first 4 KiB
        words = [read_word(elf, text.base + 4 * i) for i in range(1024)]
        start = words.index(0xFFFFDED3)
        assert words[start : start + 5] == [0xFFFFDED3, 0x10210142, 0x000001FF, 0, 0xAB123579]


@pytest.mark.parametrize("name", REAL)
def test_describe_port_passes_every_boot_write(name: str) -> None:
    board = load_board(name)
    writes = [define for define in describe_port(board, "0").defines if "MMOE_BOOT_WRITES" in define]
    assert len(writes) == bool(board.boot_writes)
    for write in board.boot_writes:
        assert f"{{0x{write.address:08x}u, 0x{write.clear:08x}u, 0x{write.set:08x}u}}," in writes[0]
        assert write.address % 4 == 0
        assert write.clear | write.set, f"{write.source}: changes nothing"
        assert (write.clear | write.set) < 1 << 32


@pytest.mark.parametrize("name", REAL)
def test_uart_divisor_is_within_two_percent(name: str) -> None:
    """What a receiver tolerates over a frame of ten bits is about 3 %; both ends may be off."""
    console = load_board(name).console
    assert console.pclk_hz is not None
    if "uarte" in console.driver:
        return  # a table of the manual instead of a divisor
    # baud = tick / whole divisor; a PL011 has 1/64 of 16 clocks, LPUART and 16550 16 clocks, the others one
    fractional = console.driver in ("pl011", "rp2350-uart", "ambiq-uart")
    tick = console.pclk_hz * 4 if fractional else console.pclk_hz
    if console.driver in ("lpuart", "16550"):
        tick = console.pclk_hz // 16
    actual = tick / round(tick / console.baud)
    assert abs(actual - console.baud) / console.baud < 0.02


def test_issue_boards_are_all_there() -> None:
    assert {
        "nordic_nrf5340dk", "nordic_nrf54l15dk", "st_stm32h747i_disco", "st_stm32f4discovery", "st_nucleo_f446re",
        "st_nucleo_u575zi_q", "st_b_u585i_iot02a", "st_stm32n6570_dk", "raspberrypi_pico2", "nxp_mimxrt1060_evk",
        "ambiq_apollo510_evb", "alif_e7_devkit", "adi_max78000fthr",
    } <= set(REAL)  # fmt: skip


def test_ccm_of_the_f407_holds_nothing_that_a_dma_fills() -> None:
    ccm = next(memory for memory in load_board("st_stm32f4discovery").memory if memory.name == "ccm")
    assert not ccm.dma
    assert "slots" not in ccm.use
