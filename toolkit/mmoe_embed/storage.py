"""How the firmware reads the expert image: the board's storage driver, and the modelled flash of an emulated board."""

import dataclasses
import re

import msgspec

from mmoe_embed.board import Board, Storage
from mmoe_embed.errors import UsageError

DEFAULT_LATENCY_NS = 20_000  # of an SPI NOR behind a driver: command, address, dummy cycles and the driver's own code
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
