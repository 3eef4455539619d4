"""What of `firmware/` a board compiles, with which macros: `firmware/sources.toml` applied to a board file."""

import dataclasses
from pathlib import Path
from typing import Any

from mmoe_embed.board import Board
from mmoe_embed.errors import ToolchainError
from mmoe_embed.resources import firmware_dir, read_source_rules
from mmoe_embed.storage import FlashModel, choose_storage
from mmoe_embed.toolchain import is_microcontroller

_FILE_READS = 4  # of the expert image at once, where it is a file


@dataclasses.dataclass(frozen=True)
class Port:
    """The part of a build that the board decides.

    Attributes:
        indirect_calls: callees behind function pointers, by caller.
    """

    sources: tuple[Path, ...]
    includes: tuple[Path, ...]
    system_includes: tuple[Path, ...]
    defines: tuple[str, ...]
    indirect_calls: dict[str, tuple[str, ...]]


def indirect_calls() -> dict[str, tuple[str, ...]]:
    """Callees behind function pointers, by caller."""
    return {caller: tuple(callees) for caller, callees in read_source_rules()["indirect_calls"].items()}


def describe_port(
    board: Board,
    version: str,
    storage: str | None = None,
    flash: FlashModel | None = None,
    *,
    timeline: bool = False,
    updates: bool = False,
    retained: bool = False,
    wide_tokens: bool = False,
) -> Port:
    """Files and flags of a board.

    Args:
        board: its kind and its console choose the files.
        version: reported by the firmware.
        storage: the driver of the expert image; None is the board's first.
        flash: whose time is modelled, on an emulated board.
        timeline: whether the runtime records one.
        updates: whether the runtime can replace experts.
        retained: whether slots and data outlive a reset.
        wide_tokens: whether a token takes 32 bits in tables.

    Raises:
        ToolchainError: the firmware has no driver for the board's console.
    """
    root = firmware_dir()
    rules = read_source_rules()
    target = rules["target"]["cortex_m" if is_microcontroller(board) else "host"]
    console = rules["console"].get(board.console.driver)
    if console is None:
        known = ", ".join(rules["console"])
        raise ToolchainError(f"no driver for console {board.console.driver!r}; supported: {known}", at=board.name)
    driver = choose_storage(board, storage)
    patterns = [*rules["always"], *target["files"], *console["files"], *rules["storage"][driver.driver]["files"]]
    sources = tuple(file for pattern in patterns for file in sorted(root.glob(pattern)))
    names = [*rules["defines"], *target["defines"]]
    defines = [f"-D{name}={_macro(name, board, version)}" for name in names]
    if driver.driver == "file":
        defines.append("-DMMOE_STORAGE_FILE")
        if flash is None:
            defines.append(f"-DMMOE_READS={_FILE_READS}")
    if driver.driver == "pl081":
        defines += [f"-DMMOE_DMA_BASE=0x{driver.base:08x}", f"-DMMOE_DMA_IRQ={driver.irq}"]
    if driver.driver == "emulated-nor":
        defines += [f"-DMMOE_NOR_BASE=0x{driver.base:08x}u", f"-DMMOE_NOR_BYTES={driver.size}u"]
    if updates:
        defines += ["-DMMOE_UPDATES", f"-DMMOE_NOR_ERASE_BYTES={driver.erase_bytes}u"]
        defines.append(f"-DMMOE_NOR_WRITE_BYTES={driver.write_bytes}u")
    if flash is not None:
        sources += (root / rules["flash_model"]["file"],)
        defines += ["-DMMOE_FLASH_MODEL", f"-DMMOE_FLASH_BYTES_PER_S={flash.bytes_per_s}"]
        defines += [f"-DMMOE_FLASH_LATENCY_NS={flash.latency_ns}", f"-DMMOE_FLASH_BLOCKS={int(flash.blocking)}"]
    if retained:
        defines.append("-DMMOE_RETAINED")
    if wide_tokens:
        defines.append("-DMMOE_WIDE_TOKENS")
    if target is rules["target"]["host"]:
        defines.append("-DMMOE_THREADS")
    if timeline:
        defines.append("-DMMOE_TIMELINE")
    if board.boot_writes:
        writes = [f"{{0x{w.address:08x}u, 0x{w.clear:08x}u, 0x{w.set:08x}u}}," for w in board.boot_writes]
        defines.append(f"-DMMOE_BOOT_WRITES={''.join(writes)}")
    return Port(
        sources,
        tuple(root / path for path in (*rules["include"], *target["include"])),
        tuple(root / path for path in target["system_include"]),
        tuple(defines),
        indirect_calls(),
    )


def _macro(name: str, board: Board, version: str) -> Any:
    console = board.console
    return {
        "MMOE_VERSION": f'"{version}"',
        "MMOE_BOARD": f'"{board.name}"',
        "MMOE_TICK_HZ": board.clock.systick_hz,
        "MMOE_UART_BASE": f"0x{console.base or 0:08x}",
        "MMOE_UART_IRQ": console.rx_irq,
        "MMOE_UART_BAUD": console.baud,
        "MMOE_UART_PCLK_HZ": console.pclk_hz,
    }[name]
