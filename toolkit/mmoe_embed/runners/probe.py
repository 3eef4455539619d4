"""Runners that write to a real board through a debug probe, by their own programs."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from mmoe_embed.board import Board
from mmoe_embed.errors import DeviceError, ToolchainError, UsageError

PROBE_RUNNERS = ("pyocd", "openocd")
_INSTALL = {"pyocd": "pip install pyocd", "openocd": "sudo apt-get install openocd"}
_FLASH_TIMEOUT_S = 180.0


def make_probe_commands(board: Board, elf: Path, runner: str, *, wait_s: int = 0) -> list[list[str]]:
    """The commands that write an image, verify it and start it.

    Args:
        board: its `[runner.*]` table is used.
        elf: what to write.
        runner: "pyocd" or "openocd".
        wait_s: how long to wait for a probe; 0 fails at once when there is none.
    """
    if runner == "pyocd" and (pyocd := board.runner.pyocd):
        options = ["--target", pyocd.target]
        options += ["--pack", pyocd.pack] if pyocd.pack else []
        options += ["--frequency", str(pyocd.frequency_hz)] if pyocd.frequency_hz else []
        options += [] if wait_s else ["--no-wait"]  # without it pyOCD waits for a probe for ever
        load = ["pyocd", "load", *options, "--format", "elf", str(elf)]
        return [load, ["pyocd", "reset", *options]]
    if runner == "openocd" and (openocd := board.runner.openocd):
        files = [part for file in openocd.config for part in ("-f", file)]
        return [["openocd", *files, "-c", f"program {{{elf}}} verify reset exit"]]
    tables = [name for name in PROBE_RUNNERS if getattr(board.runner, name) is not None]
    if runner not in PROBE_RUNNERS:
        raise UsageError(f"runner {runner!r} cannot flash yet", try_=f"supported: {', '.join(PROBE_RUNNERS)}")
    raise UsageError(
        f"board {board.name} has no [runner.{runner}]",
        at=f"{board.name}.toml",
        try_=f"--runner {tables[0]}" if tables else f"add a [runner.{runner}] table to the board file",
    )


def find_program(name: str) -> str | None:
    """Path of a program: on PATH, or beside the Python that runs us (a virtual environment not activated)."""
    return shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))


def run_commands(commands: Sequence[Sequence[str]], *, wait_s: int = 0) -> None:
    """Run them one after the other.

    Raises:
        ToolchainError: the program is not installed.
        DeviceError: it failed, or took longer than 3 minutes and `wait_s`.
    """
    for argv in commands:
        program = find_program(argv[0])
        if program is None:
            raise ToolchainError(f"{argv[0]} is not installed", try_=_INSTALL.get(argv[0], ""))
        at = " ".join(argv)
        try:
            done = subprocess.run(
                [program, *argv[1:]],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=_FLASH_TIMEOUT_S + wait_s,
            )
        except subprocess.TimeoutExpired as error:
            raise DeviceError(f"{argv[0]} did not end within {error.timeout:g} s", at=at) from None
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()[-3:]
            raise DeviceError(
                f"{argv[0]} failed with exit code {done.returncode}: {' | '.join(said) or 'no message'}",
                at=at,
                try_="connect the probe and power the board; --dry-run prints the commands",
            )
