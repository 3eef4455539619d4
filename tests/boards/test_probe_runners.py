"""Runners of real boards: exact commands, fake probes that record them, and the real programs as far as they go without one."""

import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from elf_file import Segment, write_elf

from mmoe_embed.board import Board, JlinkRunner, OpenocdRunner, PyocdRunner, Runner, WestRunner, list_boards, load_board
from mmoe_embed.errors import DeviceError, ToolchainError, UsageError
from mmoe_embed.runners import make_commands
from mmoe_embed.runners.probe import (
    Command,
    Flashing,
    ProbeRequest,
    describe_files,
    find_program,
    plan_flashing,
    run_flashing,
)

F4 = load_board("st_nucleo_f446re")


def _board(**tables: object) -> Board:
    return msgspec.structs.replace(F4, runner=Runner(default=next(iter(tables)), **tables))  # type: ignore[arg-type]


@pytest.fixture
def elf(tmp_path: Path) -> Path:
    """Two segments: code in flash, and data whose initial bytes lie behind it."""
    segments = [Segment(0x08000000, 64, 0x08000000, 64), Segment(0x20000000, 100, 0x08000040, 8)]
    return write_elf(tmp_path / "firmware.elf", segments)


def _write_program(folder: Path, name: str, body: str) -> None:
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_text(f"#!{sys.executable}\nimport sys, time\n{body}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Fake programs of every runner: what each was called with, a line a call; they say what the real ones say."""
    log = tmp_path / "calls"
    says = {
        "pyocd": "All 64 bytes match.",
        "openocd": "** Verified OK **",
        "JLinkExe": "Verify successful.",
        "west": "-- west flash: using runner x",
    }
    for name, words in says.items():
        _write_program(
            tmp_path / "bin",
            name,
            f'open({str(log)!r}, "a").write(" ".join(["{name}", *sys.argv[1:]]) + "\\n")\nprint("{words}")',
        )
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    return log


def test_pyocd_loads_compares_and_resets(elf: Path, probe: Path, tmp_path: Path) -> None:
    board = _board(pyocd=PyocdRunner(target="stm32f446retx", pack="Keil.STM32F4xx_DFP", frequency_hz=4_000_000))
    request = ProbeRequest(probe="066BFF", pack=Path("/p/f4.pack"))
    run_flashing(plan_flashing(board, elf, "pyocd", request))
    options = "--target stm32f446retx --no-wait --pack /p/f4.pack --uid 066BFF --frequency 4000000"
    assert probe.read_text().splitlines() == [
        f"pyocd load {options} --format elf {elf}",
        f"pyocd commander {options} -c compare 0x08000000 {tmp_path}/flash-08000000.bin",
        f"pyocd commander {options} -c compare 0x08000040 {tmp_path}/flash-08000040.bin",
        f"pyocd reset {options}",
    ]
    assert (tmp_path / "flash-08000000.bin").stat().st_size == 64
    assert (tmp_path / "flash-08000040.bin").stat().st_size == 8


def test_openocd_programs_and_verifies(elf: Path, probe: Path) -> None:
    board = _board(openocd=OpenocdRunner(config=["interface/stlink.cfg", "target/stm32f4x.cfg"]))
    run_flashing(plan_flashing(board, elf, "openocd", ProbeRequest(probe="066BFF")))
    files = "-f interface/stlink.cfg -f target/stm32f4x.cfg -c adapter serial 066BFF"
    assert probe.read_text().splitlines() == [f"openocd {files} -c program {{{elf}}} verify reset exit"]


def test_jlink_runs_its_script(elf: Path, probe: Path, tmp_path: Path) -> None:
    run_flashing(plan_flashing(_board(jlink=JlinkRunner(device="STM32F446RE")), elf, "jlink"))
    assert probe.read_text().splitlines() == [
        "JLinkExe -NoGui 1 -ExitOnError 1 -AutoConnect 1 -Device STM32F446RE -If SWD -Speed 4000 "
        f"-CommandFile {tmp_path}/flash.jlink"
    ]
    assert (tmp_path / "flash.jlink").read_text().splitlines() == [
        "r",
        f"loadfile {elf}",
        f"verifybin {tmp_path}/flash-08000000.bin, 0x08000000",
        f"verifybin {tmp_path}/flash-08000040.bin, 0x08000040",
        "r",
        "g",
        "qc",
    ]


@pytest.mark.parametrize("name", ["with space", "c++ (old)", "it's", 'a"b', "ümläut"])
def test_paths_reach_the_programs_whole(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    elf = write_elf(tmp_path / name / "firmware.elf", [Segment(0x08000000, 64, 0x08000000, 64)])
    binary = str(tmp_path / name / "flash-08000000.bin")
    pyocd = plan_flashing(_board(pyocd=PyocdRunner(target="stm32f446retx")), elf, "pyocd")
    line = pyocd.commands[1].argv[-1]
    split_command_line = pytest.importorskip("pyocd.utility.cmdline").split_command_line
    assert split_command_line(split_command_line(line)) == ["compare", "0x08000000", binary]  # as pyOCD does, twice
    jlink = plan_flashing(_board(jlink=JlinkRunner(device="STM32F446RE")), elf, "jlink")
    script = jlink.files[tmp_path / name / "flash.jlink"].decode()
    assert ('loadfile "' in script) == (name != "ümläut")


def test_dry_run_shows_what_the_commands_read(elf: Path, tmp_path: Path) -> None:
    lines = describe_files(plan_flashing(_board(jlink=JlinkRunner(device="STM32F446RE")), elf, "jlink"))
    assert lines[0] == f"# {tmp_path}/flash.jlink:"
    assert f"#   loadfile {elf}" in lines
    assert lines[-1] == f"# {tmp_path}/flash-08000040.bin: the 8 B of the image at 0x08000040, to verify"
    assert not (tmp_path / "flash.jlink").exists()


def test_openocd_without_a_configuration_file_is_told_from_one_without_a_probe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write_program(
        tmp_path / "bin", "openocd", """sys.exit("embedded:startup.tcl:28: Error: Can't find target/x.cfg")"""
    )
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    with pytest.raises(DeviceError) as caught:
        run_flashing(Flashing((Command(("openocd", "-f", "target/x.cfg")),)))
    assert caught.value.try_.startswith("this OpenOCD has no target/x.cfg")


def test_west_flashes_our_image_with_a_west_builds_settings(elf: Path, probe: Path) -> None:
    board = _board(west=WestRunner(runner="nrfutil"))
    with pytest.raises(UsageError, match="west build directory"):
        plan_flashing(board, elf, "west")
    run_flashing(plan_flashing(board, elf, "west", ProbeRequest(probe="1050", west_build=Path("/z/build"))))
    assert probe.read_text().splitlines() == [
        f"west flash --skip-rebuild --build-dir /z/build --elf-file {elf} --runner nrfutil --dev-id 1050"
    ]


@pytest.mark.parametrize("runner", ["pyocd", "openocd", "jlink"])
def test_image_that_does_not_verify_is_an_error(
    runner: str, elf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("pyocd", "openocd", "JLinkExe"):
        _write_program(tmp_path / "bin", name, 'print("Mismatched byte at 0x08000003")')
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    board = _board(
        pyocd=PyocdRunner(target="x"), openocd=OpenocdRunner(config=["x.cfg"]), jlink=JlinkRunner(device="x")
    )
    with pytest.raises(DeviceError, match=r"did not say that the image was verified.*Mismatched byte"):
        run_flashing(plan_flashing(board, elf, runner))


def test_runner_without_table(elf: Path) -> None:
    board = _board(openocd=OpenocdRunner(config=["x.cfg"]))
    with pytest.raises(UsageError, match=r"no \[runner.pyocd\]") as caught:
        plan_flashing(board, elf, "pyocd")
    assert caught.value.try_ == "--runner openocd"
    with pytest.raises(UsageError, match="cannot flash"):
        plan_flashing(board, elf, "qemu")


def test_dry_run_commands_of_every_real_board(elf: Path) -> None:
    for file in sorted((Path(__file__).resolve().parents[2] / "boards").glob("*.toml")):
        board = load_board(file.stem)
        if board.kind == "hardware":
            commands = make_commands(board, elf, request=ProbeRequest(west_build=Path("/z")))
            assert commands
            assert all(
                str(elf) in " ".join(command) or "flash" in " ".join(command) or "reset" in command
                for command in commands
            )


def test_missing_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmoe_embed.runners.probe.find_program", lambda name: None)
    with pytest.raises(ToolchainError, match="openocd is not installed"):
        run_flashing(Flashing((Command(("openocd",)),)))


def test_failure_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write_program(tmp_path / "bin", "openocd", 'sys.exit("Error: flash is write protected")')
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    started = time.monotonic()
    with pytest.raises(DeviceError, match="exit code 1: Error: flash is write protected") as caught:
        run_flashing(Flashing((Command(("openocd", "-f", "x")),)), wait_s=100)
    assert caught.value.at == "openocd -f x"
    assert time.monotonic() - started < 50  # waiting is for probes only


def test_wait_tries_until_the_probe_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmoe_embed.runners.probe._POLL_S", 0.05)
    counter = tmp_path / "count"
    body = f"""
with open({str(counter)!r}, "a") as f: f.write("x")
if len(open({str(counter)!r}).read()) < 3: sys.exit("No connected debug probes")"""
    _write_program(tmp_path / "bin", "pyocd", body)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    flashing = Flashing((Command(("pyocd", "reset")),))
    with pytest.raises(DeviceError, match="No connected debug probes"):
        run_flashing(flashing)  # by default it does not wait
    assert counter.read_text() == "x"
    run_flashing(flashing, wait_s=60)
    assert counter.read_text() == "xxx"


REAL = {"pyocd": "no connected debug probes", "openocd": "open failed|no device found|unable to"}


@pytest.mark.parametrize("runner", REAL)
def test_real_program_without_a_probe_fails_at_once(runner: str, elf: Path) -> None:
    if find_program(runner) is None:
        pytest.skip(f"{runner} is not installed")
    with pytest.raises(DeviceError, match=f"(?i){REAL[runner]}") as caught:
        run_flashing(plan_flashing(F4, elf, runner))
    assert "--wait SECONDS" in caught.value.try_


def test_real_pyocd_has_the_targets_of_our_boards() -> None:
    """Those of a pack need its file; their names are of pyOCD's own list of boards."""
    program = find_program("pyocd")
    if program is None:
        pytest.skip("pyocd is not installed")
    listed = subprocess.run(
        [program, "list", "--targets"], capture_output=True, text=True, check=True, timeout=300
    ).stdout
    known = {line.split()[0] for line in listed.splitlines() if line.strip()}
    tables = [load_board(name).runner.pyocd for name in list_boards()]
    assert {table.target for table in tables if table and not table.pack} - known == set()
    assert len([table for table in tables if table]) >= 8


def test_real_openocd_has_the_configuration_files_of_our_boards() -> None:
    if shutil.which("openocd") is None:
        pytest.skip("openocd is not installed")
    scripts = Path("/usr/share/openocd/scripts")
    missing = {}
    for file in sorted((Path(__file__).resolve().parents[2] / "boards").glob("*.toml")):
        openocd = load_board(file.stem).runner.openocd
        absent = [name for name in (openocd.config if openocd else []) if not (scripts / name).is_file()]
        if absent:
            missing[file.stem] = absent
    # newer than OpenOCD 0.12, or only in the vendor's own: their board files say so
    assert missing == {"adi_max78000fthr": ["target/max78000.cfg"], "raspberrypi_pico2": ["target/rp2350.cfg"]}
    assert all("OpenOCD" in load_board(name).notes for name in missing)
