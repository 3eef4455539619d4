"""How the firmware reads the expert image: the board's storage driver, and the modelled flash of an emulated board."""

import dataclasses
import os
import re
from pathlib import Path

import msgspec

from mmoe_embed.board import Board, Storage
from mmoe_embed.errors import FitError, UsageError
from mmoe_embed.whole_file import write_whole

DEFAULT_LATENCY_NS = 20_000  # of an SPI NOR behind a driver: command, address, dummy cycles and the driver's own code
FLASH_FILE = "flash.bin"  # in a build folder: the flash of an emulated board or a host program
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}
_TIME_UNITS = {"ns": 1, "us": 1000, "ms": 1_000_000}
_MODEL = re.compile(r"(\d+(?:\.\d+)?)([KMG]?)(?::(\d+)(ns|us|ms))?(:blocking)?")


@dataclasses.dataclass(frozen=True)
class FlashModel:
    """A flash whose time is modelled in the virtual time of an emulator.

    Attributes:
        blocking: the core waits for each read, as with a driver without DMA.
        instruction_ns: virtual time of one instruction, a power of two: what `-icount` is set to.
    """

    bytes_per_s: int
    latency_ns: int
    blocking: bool
    instruction_ns: int


def choose_storage(board: Board, driver: str | None) -> Storage:
    """The board's storage of that name; its first one for None.

    Raises:
        UsageError: the board has no such driver.
    """
    for storage in board.storages:
        if driver in (None, storage.driver):
            return storage
    raise UsageError(
        f"board {board.name} has no storage driver {driver!r}",
        at=f"{board.name}.toml, [[storage]]",
        try_=f"--storage {' or '.join(storage.driver for storage in board.storages)}",
    )


def choose_spare_pages(board: Board, storage: Storage, wanted: int | None) -> int:
    """How many pages are kept free for experts that replace others; None is 1 where the storage can be written.

    Raises:
        UsageError: it cannot be written.
    """
    if storage.erase_bytes is None and wanted:
        writable = [other.driver for other in board.storages if other.erase_bytes is not None]
        raise UsageError(
            f"spare pages are for a storage that the firmware can write; {storage.driver!r} of {board.name} only reads",
            at=f"{board.name}.toml, [[storage]]",
            try_=f"--storage {' or '.join(writable)}"
            if writable
            else "no --spare-pages: experts are flashed with the firmware",
        )
    return wanted if wanted is not None else int(storage.erase_bytes is not None)


def check_storage_size(board: Board, storage: Storage, image_bytes: int) -> None:
    """Refuse an expert image that is larger than the flash it is to lie in.

    Raises:
        FitError: by how much.
    """
    if storage.size is not None and image_bytes > storage.size:
        raise FitError(
            f"the experts do not fit the flash of {board.name}: need {image_bytes} B, has {storage.size} B "
            f"({image_bytes - storage.size} B over)",
            at=f"{board.name}.toml, storage {storage.driver}",
            try_="a smaller model, --scheme int4, or fewer --spare-pages",
        )


def attach_flash(board: Board, driver: str, folder: Path) -> Board:
    """The board as its emulator runs it with the flash that a build folder keeps."""
    qemu = board.runner.qemu
    file = str((folder / FLASH_FILE).absolute()).replace(",", ",,")  # as QEMU writes a comma
    arguments = [argument.replace("{file}", file) for argument in choose_storage(board, driver).qemu_args]
    if qemu is None or qemu.args[len(qemu.args) - len(arguments) :] == arguments:  # nothing to do, or done
        return board
    attached = msgspec.structs.replace(qemu, args=[*qemu.args, *arguments])
    return msgspec.structs.replace(board, runner=msgspec.structs.replace(board.runner, qemu=attached))


def write_flash(board: Board, driver: str, folder: Path, image: bytes) -> None:
    """Make the file that stands for a flash, with nothing but the image in it."""
    file = folder / FLASH_FILE
    write_whole(file, image)
    size = choose_storage(board, driver).size
    if size is not None:
        os.truncate(file, size)


def parse_flash_model(text: str, instruction_ns: int | None, board: Board) -> FlashModel:
    """Read `SPEED[:LATENCY][:blocking]`: bytes a second with K, M or G for powers of 1000; latency in ns, us or ms.

    Args:
        text: `8M`, `20M:50us`, `100M:20us:blocking`.
        instruction_ns: None takes the power of two next below a cycle of the core's clock.
        board: an emulated one.

    Raises:
        UsageError: another form, or the board is not emulated.
    """
    found = _MODEL.fullmatch(text)
    if found is None or float(found[1]) <= 0:
        raise UsageError(
            f"{text!r} is no flash model", try_="SPEED[:LATENCY][:blocking], as in 8M, 20M:50us or 100M:20us:blocking"
        )
    if board.runner.qemu is None or not board.runner.qemu.instructions_per_second:
        raise UsageError(
            f"a flash is modelled on emulated boards that count instructions; {board.name} is none",
            try_="a qemu_ board",
        )
    clock_hz = board.core.clock_hz or board.soc.clock_hz
    chosen = instruction_ns or min(1024, 1 << max(0, (10**9 // clock_hz).bit_length() - 1))
    if chosen & (chosen - 1) or not 1 <= chosen <= 1024:
        raise UsageError(f"an instruction cannot take {chosen} ns", try_="a power of two, 1 to 1024")
    latency_ns = int(found[3]) * _TIME_UNITS[found[4]] if found[3] else DEFAULT_LATENCY_NS
    return FlashModel(int(float(found[1]) * _UNITS[found[2]]), latency_ns, bool(found[5]), chosen)


def set_pace(board: Board, model: FlashModel | None) -> Board:
    """The board as its emulator runs it beside a modelled flash: an instruction takes `instruction_ns`."""
    qemu = board.runner.qemu
    if model is None or qemu is None:
        return board
    shift = model.instruction_ns.bit_length() - 1
    arguments = [re.sub(r"\bshift=\d+", f"shift={shift}", argument) for argument in qemu.args]
    paced = msgspec.structs.replace(qemu, args=arguments, instructions_per_second=10**9 // model.instruction_ns)
    return msgspec.structs.replace(board, runner=msgspec.structs.replace(board.runner, qemu=paced))
