"""Twister's hardware map: which boards hang on this machine, at which ports (Zephyr's doc/develop/test/twister.rst)."""

from pathlib import Path
from typing import Annotated

import msgspec

from mmoe_embed.board import Board
from mmoe_embed.errors import DeviceError, ToolkitError


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """One entry; keys that only twister needs are ignored."""

    connected: bool = False
    id: str | int | None = None  # of the debug probe
    platform: str | list[str] = []  # Zephyr's names of the board, or ours; twister splits a string at spaces
    product: str | None = None
    runner: str | None = None
    serial: str | None = None
    baud: Annotated[int, msgspec.Meta(gt=0)] | None = None
    fixtures: list[str] = []

    @property
    def platforms(self) -> list[str]:
        """Every name that the entry goes by."""
        return self.platform.split() if isinstance(self.platform, str) else self.platform


def load_hardware_map(file: Path) -> list[Device]:
    """Read a map.

    Raises:
        ToolkitError: no such file, no YAML, or a key of a wrong type.
    """
    try:
        devices: list[Device] = msgspec.yaml.decode(file.read_bytes(), type=list[Device])
    except FileNotFoundError:
        raise ToolkitError("no such hardware map", at=str(file), try_="west twister --generate-hardware-map") from None
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ToolkitError(
            f"no hardware map: {error}", at=str(file), try_="a list with platform, serial, ..."
        ) from None
    return devices


def find_device(devices: list[Device], board: Board, file: Path) -> Device:
    """The first connected device that is this board and has a port.

    Raises:
        DeviceError: there is none.
    """
    names = {board.name, board.zephyr_board}
    for device in devices:
        if device.connected and device.serial and names.intersection(device.platforms):
            return device
    others = sorted({name for device in devices if device.connected for name in device.platforms})
    raise DeviceError(
        f"no connected {board.name} with a serial port in the hardware map",
        at=str(file),
        try_=f"connect one; the map has: {', '.join(others) or 'nothing'}",
    )
