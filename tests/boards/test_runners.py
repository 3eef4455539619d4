"""Runners: exact commands, children that end, every way an emulator or a probe can fail."""

import os
import re
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from elf_file import Segment, write_elf

from mmoe_embed.board import Board, HostRunner, PyocdRunner, Runner, load_board
from mmoe_embed.errors import DeviceError, FitError, ToolchainError, ToolkitError, UsageError
from mmoe_embed.runners import make_commands, start_board
from mmoe_embed.runners.emulated import make_host_command, start_qemu
from mmoe_embed.runners.fit import check_image_fits
from mmoe_embed.runners.process import find_free_port, start_process

HOST = load_board("host_x86_64")
M4 = load_board("qemu_mps2_an386")
ELF = Path("/b/firmware.elf")


def _with_runner(runner: Runner) -> Board:
    return msgspec.structs.replace(M4, kind="hardware", runner=runner)


def _write_program(folder: Path, name: str, body: str) -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_text(f"#!{sys.executable}\nimport sys, time\n{body}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return file


def _is_alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]
    except FileNotFoundError:
        return False


def _await_end(pid: int) -> bool:
    end = time.monotonic() + 5
    while _is_alive(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not _is_alive(pid)


def test_make_commands_qemu() -> None:
    assert make_commands(M4, ELF) == [[
        "qemu-system-arm", "-M", "mps2-an386", "-display", "none", "-monitor", "none", "-icount", "shift=0",
        "-kernel", "/b/firmware.elf", "-serial", "tcp:127.0.0.1:PORT,server=on,wait=on,nodelay=on",
    ]]  # fmt: skip


def test_make_host_command_of_another_machine() -> None:
    host = msgspec.structs.replace(
        HOST, runner=Runner(default="host", host=HostRunner(machine="vax", emulator=["simh"]))
    )
    assert make_host_command(host, ELF) == ["simh", "/b/firmware.elf"]


def test_start_board_of_a_real_board_needs_a_port() -> None:
    board = _with_runner(Runner(default="pyocd", pyocd=PyocdRunner(target="x")))
    with pytest.raises(UsageError, match="port is needed"), start_board(board, ELF):
        pass


def test_start_qemu_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ToolchainError, match="qemu-system-arm is not installed") as caught, start_qemu(M4, ELF):
        pass
    assert caught.value.exit_code == 5
    assert "apt-get install" in caught.value.try_


def test_start_qemu_tries_another_port_when_it_lost_the_race(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counter = tmp_path / "count"
    body = f"""
with open({str(counter)!r}, "a") as f: f.write("x")
if len(open({str(counter)!r}).read()) < 3:
    sys.exit("qemu-system-arm: Failed to find an available port: Address already in use")
print("info: QEMU waiting for connection on: tcp", file=sys.stderr, flush=True)
time.sleep(60)"""
    _write_program(tmp_path / "bin", "qemu-system-arm", body)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    with start_qemu(M4, ELF) as url:
        assert re.fullmatch(r"socket://127\.0\.0\.1:\d+", url)
    assert counter.read_text() == "xxx"


def test_start_host_says_where_it_listens_and_is_stopped(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    body = f"""
import os
open({str(pid_file)!r}, "w").write(str(os.getpid()))
print("listening on 127.0.0.1:4711", flush=True)
time.sleep(60)"""
    program = _write_program(tmp_path / "bin", "program", body)
    native = msgspec.structs.replace(HOST, runner=Runner(default="host", host=HostRunner(machine=os.uname().machine)))
    with start_board(native, program) as url:
        assert url == "socket://127.0.0.1:4711"
        pid = int(pid_file.read_text())
        assert _is_alive(pid)
    assert _await_end(pid)


def test_start_process_that_ends_early_is_quoted(tmp_path: Path) -> None:
    program = _write_program(tmp_path / "bin", "p", 'sys.exit("no such machine")')
    with pytest.raises(DeviceError, match="ended before it was ready; it said: no such machine"):  # noqa: SIM117
        with start_process([str(program)], re.compile("ready"), what="it"):
            pass


def test_start_process_that_says_nothing(tmp_path: Path) -> None:
    program = _write_program(tmp_path / "bin", "p", "time.sleep(60)")
    with pytest.raises(DeviceError, match=r"not ready after 0\.3 s"):  # noqa: SIM117
        with start_process([str(program)], re.compile("ready"), what="it", timeout_s=0.3):
            pass


def test_start_process_child_ignores_the_polite_signal(tmp_path: Path) -> None:
    body = """
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", os.getpid(), flush=True)
while True: time.sleep(1)"""
    program = _write_program(tmp_path / "bin", "p", body)
    with start_process([str(program)], re.compile("ready"), what="it") as line:
        pid = int(line.split()[1])
    assert _await_end(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
def test_start_process_child_dies_when_we_are_killed(tmp_path: Path) -> None:
    program = _write_program(
        tmp_path / "bin", "p", 'import os\nprint("ready", os.getpid(), flush=True)\ntime.sleep(60)'
    )
    script = f"""
import re, time
from mmoe_embed.runners.process import start_process
with start_process([{str(program)!r}], re.compile("ready"), what="it") as line:
    print(line, flush=True)
    time.sleep(60)
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline().split()[1])
        parent.send_signal(signal.SIGKILL)
    assert _await_end(pid)


def test_find_free_port_is_free() -> None:
    assert 1024 <= find_free_port() <= 65535


def test_check_image_fits(tmp_path: Path) -> None:
    text = Segment(0, 1000, 0, 1000)
    data = Segment(0x20000000, 196608, 1000, 24)
    elf = write_elf(tmp_path / "good.elf", [text, data])
    assert check_image_fits(M4, elf) == {"ssram1": 1024, "ssram23": 196608}


def test_check_image_fits_over_the_budget(tmp_path: Path) -> None:
    elf = write_elf(tmp_path / "large.elf", [Segment(0x20000010, 196608, 0, 0)])
    with pytest.raises(FitError, match=r"ssram23 needs 196624 B, has 196608 B \(16 B over\)") as caught:
        check_image_fits(M4, elf)
    assert caught.value.exit_code == 3


def test_check_image_fits_where_no_memory_is(tmp_path: Path) -> None:
    elf = write_elf(tmp_path / "lost.elf", [Segment(0x60000000, 4, 0x60000000, 4)])
    with pytest.raises(FitError, match="0x60000000, where no memory is"):
        check_image_fits(M4, elf)


def test_check_image_fits_not_an_elf(tmp_path: Path) -> None:
    file = tmp_path / "x.elf"
    file.write_text("hello")
    with pytest.raises(ToolkitError, match="not an ELF file"):
        check_image_fits(M4, file)
