"""Runners that write to a real board through a debug probe, by their own programs."""

import dataclasses
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from elftools.elf.elffile import ELFFile

from mmoe_embed.board import Board
from mmoe_embed.errors import DeviceError, ToolchainError, UsageError

PROBE_RUNNERS = ("pyocd", "openocd", "jlink", "west")
_INSTALL = {
    "pyocd": "pip install pyocd",
    "openocd": "sudo apt-get install openocd",
    "JLinkExe": "install SEGGER's J-Link software",
    "west": "pip install west",
}
_FLASH_TIMEOUT_S = 180.0
_POLL_S = 1.0
# What the programs say when no probe is there: worth another try while --wait lasts.
_NO_PROBE = re.compile(
    r"no (available )?(connected )?debug probes|no probe|no device found|unable to find a matching|open failed|"
    r"cannot connect to j-link|connecting to j-link.*failed|no emulators connected",
    re.IGNORECASE,
)


@dataclasses.dataclass(frozen=True)
class ProbeRequest:
    """What a user says about probe and tools.

    Attributes:
        probe: serial number, where several are connected.
        pack: a CMSIS-Pack file for pyOCD.
        west_build: a west build directory for the same board, whose runner settings are used.
    """

    probe: str | None = None
    pack: Path | None = None
    west_build: Path | None = None


@dataclasses.dataclass(frozen=True)
class Command:
    """One call of a program.

    Attributes:
        must_say: what its output holds when all is well; pyOCD's compare exits with 0 also when bytes differ.
    """

    argv: tuple[str, ...]
    must_say: str = ""


@dataclasses.dataclass(frozen=True)
class Flashing:
    """Commands that write an image, verify it and start it; and the files they read besides it, written before."""

    commands: tuple[Command, ...]
    files: Mapping[Path, bytes] = dataclasses.field(default_factory=dict)


def plan_flashing(board: Board, elf: Path, runner: str, request: ProbeRequest | None = None) -> Flashing:
    """What must be run.

    Args:
        board: its `[runner.*]` table is used.
        elf: what to write.
        runner: one of PROBE_RUNNERS.
        request: of the user.

    Raises:
        UsageError: the board has no such table, or something the runner needs is not given.
    """
    make = {"pyocd": _plan_pyocd, "openocd": _plan_openocd, "jlink": _plan_jlink, "west": _plan_west}.get(runner)
    if make is None:
        raise UsageError(f"runner {runner!r} cannot flash", try_=f"supported: {', '.join(PROBE_RUNNERS)}")
    if getattr(board.runner, runner) is None:
        tables = [name for name in PROBE_RUNNERS if getattr(board.runner, name) is not None]
        raise UsageError(
            f"board {board.name} has no [runner.{runner}]",
            at=f"{board.name}.toml",
            try_=f"--runner {tables[0]}" if tables else f"add a [runner.{runner}] table to the board file",
        )
    return make(board, elf, request or ProbeRequest())


def describe_files(flashing: Flashing) -> list[str]:
    """The files that the commands read besides the image: a script in full, of bytes where they are from."""
    lines = []
    for file, content in flashing.files.items():
        if file.suffix == ".bin":
            address = file.stem.rpartition("-")[2]
            lines.append(f"# {file}: the {len(content)} B of the image at 0x{address}, to verify")
        else:
            lines += [f"# {file}:", *(f"#   {line}" for line in content.decode().splitlines())]
    return lines


def _plan_pyocd(board: Board, elf: Path, request: ProbeRequest) -> Flashing:
    pyocd = board.runner.pyocd
    assert pyocd
    options = ["--target", pyocd.target, "--no-wait"]  # without it pyOCD waits for a probe for ever
    options += ["--pack", str(request.pack)] if request.pack else []
    options += ["--uid", request.probe] if request.probe else []
    options += ["--frequency", str(pyocd.frequency_hz)] if pyocd.frequency_hz else []
    segments = _split_image(elf)
    # the commander splits a line at spaces and at most punctuation, and each part once more
    compare = [f"compare 0x{address:08x} {_quote(_quote(str(file)))}" for address, (file, _) in segments.items()]
    return Flashing(
        (
            Command(("pyocd", "load", *options, "--format", "elf", str(elf))),
            *(Command(("pyocd", "commander", *options, "-c", line), "bytes match") for line in compare),
            Command(("pyocd", "reset", *options)),
        ),
        dict(segments.values()),
    )


def _plan_openocd(board: Board, elf: Path, request: ProbeRequest) -> Flashing:
    openocd = board.runner.openocd
    assert openocd
    files = [part for file in openocd.config for part in ("-f", file)]
    files += ["-c", f"adapter serial {request.probe}"] if request.probe else []
    return Flashing(
        (Command(("openocd", *files, "-c", f"program {{{elf}}} verify reset exit"), "Verified OK"),),
    )


def _plan_jlink(board: Board, elf: Path, request: ProbeRequest) -> Flashing:
    jlink = board.runner.jlink
    assert jlink
    segments = _split_image(elf)
    verify = [f"verifybin {_quote(str(file))}, 0x{address:08x}" for address, (file, _) in segments.items()]
    script = elf.with_name("flash.jlink")
    lines = ["r", f"loadfile {_quote(str(elf))}", *verify, "r", "g", "qc"]
    options = ["-NoGui", "1", "-ExitOnError", "1", "-AutoConnect", "1", "-Device", jlink.device]
    options += ["-If", jlink.interface.upper(), "-Speed", str(jlink.speed_khz)]
    options += ["-SelectEmuBySN", request.probe] if request.probe else []
    return Flashing(
        (Command(("JLinkExe", *options, "-CommandFile", str(script)), "Verify successful"),),
        {script: "".join(f"{line}\n" for line in lines).encode(), **dict(segments.values())},
    )


def _plan_west(board: Board, elf: Path, request: ProbeRequest) -> Flashing:
    west = board.runner.west
    assert west
    if request.west_build is None:
        raise UsageError(
            "the runner west takes its settings from a west build directory of the same board",
            try_=f"west build -b {board.zephyr_board or 'BOARD'} any sample, then --west-build DIR",
        )
    options = ["--skip-rebuild", "--build-dir", str(request.west_build), "--elf-file", str(elf)]
    options += ["--runner", west.runner] if west.runner else []
    options += ["--dev-id", request.probe] if request.probe else []
    return Flashing((Command(("west", "flash", *options)),))


def _quote(word: str) -> str:
    """As the programs' own command languages read it; a plain path stays as it is."""
    if re.fullmatch(r"[\w./-]+", word):
        return word
    escaped = word.replace("\\", r"\\").replace('"', r"\"")
    return f'"{escaped}"'


def _split_image(elf: Path) -> dict[int, tuple[Path, bytes]]:
    """Load address -> (file beside the image, bytes) of every segment that is in flash."""
    segments: dict[int, tuple[Path, bytes]] = {}
    with elf.open("rb") as stream:
        for segment in ELFFile(stream).iter_segments():
            if segment["p_type"] == "PT_LOAD" and segment["p_filesz"]:
                address = segment["p_paddr"]
                segments[address] = (elf.with_name(f"flash-{address:08x}.bin"), segment.data())
    return segments


def find_program(name: str) -> str | None:
    """Path of a program: on PATH, or beside the Python that runs us (a virtual environment not activated)."""
    return shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))


def run_flashing(flashing: Flashing, *, wait_s: int = 0) -> None:
    """Write the files and run the commands one after the other.

    Args:
        flashing: what to do.
        wait_s: how long to try again as long as there is no probe; 0 fails at once.

    Raises:
        ToolchainError: the program is not installed.
        DeviceError: it failed, did not verify, or took longer than 3 minutes.
    """
    for file, content in flashing.files.items():
        file.write_bytes(content)
    end = time.monotonic() + wait_s
    for command in flashing.commands:
        while (failure := _run(command)) is not None:
            if not _NO_PROBE.search(failure.message) or time.monotonic() + _POLL_S > end:
                raise failure
            time.sleep(_POLL_S)


def _run(command: Command) -> DeviceError | None:
    """None when it did what it should."""
    name, *arguments = command.argv
    program = find_program(name)
    if program is None:
        raise ToolchainError(f"{name} is not installed", try_=_INSTALL.get(name, ""))
    at = shlex.join(command.argv)
    try:
        done = subprocess.run(
            [program, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_FLASH_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as error:
        return DeviceError(f"{name} did not end within {error.timeout:g} s", at=at)
    said = f"{done.stdout}\n{done.stderr}"
    last = " | ".join(line.strip() for line in said.splitlines() if line.strip())[-400:] or "no message"
    if done.returncode:
        return DeviceError(f"{name} failed with exit code {done.returncode}: {last}", at=at, try_=_suggest(name, said))
    if command.must_say not in said:
        return DeviceError(
            f"{name} did not say that the image was verified ({command.must_say!r}): {last}",
            at=at,
            try_="flash again; a board that keeps failing has a worn flash or another chip than the board file says",
        )
    return None


def _suggest(name: str, said: str) -> str:
    if missing := re.search(r"Can't find (\S+\.cfg)", said):
        return (
            f"this OpenOCD has no {missing[1]}: a newer one, or the vendor's; or another --runner (boards show BOARD)"
        )
    if name == "pyocd" and "not recognized" in said:
        return "--pack FILE of the chip's CMSIS-Pack, or pyocd pack install TARGET; the board file names both"
    return "connect the probe and power the board; --wait SECONDS waits for it; --dry-run prints the commands"
