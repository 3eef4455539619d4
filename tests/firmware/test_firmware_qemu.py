"""Images on emulated boards: the golden's bits with both compilers, the clock, and faults that are reported."""

import contextlib
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from emitted import Models, require_tool
from images import FIRMWARE, MACHINES, WARNINGS, Machine, include_flags, render_linker_script, run, sources
from test_firmware_host import Wire, compare_steps, random_tokens

from mmoe_embed.golden import Golden
from mmoe_embed.serial.client import BoardClient
from mmoe_embed.serial.link import Link
from mmoe_embed.serial.port import Port

pytestmark = [pytest.mark.arm, pytest.mark.qemu]

TARGETS = [
    ("mps3-an547", "gcc"),
    ("mps3-an547", "zig"),
    ("mps2-an386", "gcc"),
    ("netduinoplus2", "gcc"),
    ("netduinoplus2", "zig"),
    ("mps2-an385", "gcc"),
]


@contextlib.contextmanager
def emulate(elf: Path, machine: Machine) -> Iterator[tuple[int, int]]:
    """Runs an image; yields its serial port and QEMU's process id."""
    require_tool("qemu-system-arm")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [
            "qemu-system-arm",
            "-M",
            machine.qemu,
            "-display",
            "none",
            "-monitor",
            "none",
            "-icount",
            "shift=0",
            "-kernel",
            elf,
            "-serial",
            f"tcp:127.0.0.1:{port},server=on,wait=on,nodelay=on",
        ],
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stderr
        process.stderr.readline()  # it listens
        yield port, process.pid
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(("machine", "compiler"), TARGETS)
def test_board_has_the_goldens_bits(models: Models, machine: str, compiler: str) -> None:
    golden = Golden(models.model())
    elf = models.image(machine, compiler)
    with emulate(elf, MACHINES[machine]) as (port, _), Link(Port(f"socket://127.0.0.1:{port}")) as link:
        client = BoardClient(link)
        identity = client.identify()
        assert identity.tick_hz == int(MACHINES[machine].defines["MMOE_TICK_HZ"])
        assert identity.boots == 1
        compare_steps(client, golden, random_tokens())
        assert client.encode("wake me é") == golden.encode("wake me é")
        assert [token.token for token in client.stream("call mum")] == list(golden.stream("call mum"))
        statistics = client.statistics()
        assert 200 < statistics.stack_used < 2048 < statistics.stack_bytes  # clang spills a lot in reference kernels
        assert statistics.load_errors == 0
        assert all(op.ticks for op in client.profile())


@pytest.mark.parametrize("machine", ["mps3-an547", "netduinoplus2"])
def test_steps_repeat_to_the_tick_and_idle_costs_nothing(models: Models, machine: str) -> None:
    elf = models.image(machine)
    seen = []
    for _ in range(2):
        with emulate(elf, MACHINES[machine]) as (port, pid), Link(Port(f"socket://127.0.0.1:{port}")) as link:
            client = BoardClient(link)
            client.identify()
            client.reset()
            seen.append([client.step(token).ticks for token in random_tokens(12)])
            before = _cpu_seconds(pid)
            time.sleep(1)
            assert _cpu_seconds(pid) - before < 0.3
    for first, second in zip(*seen, strict=True):  # a SysTick interrupt may fall into a step
        assert abs(first - second) <= first // 100 + 2


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_banner_and_text_on_a_board(models: Models) -> None:
    with emulate(models.image("mps2-an386"), MACHINES["mps2-an386"]) as (port, _):
        with Wire(port) as wire:
            banner, name, profile = wire.text(b""), wire.text(b"name%"), wire.text(b"profile%")
        assert re.fullmatch(rb"m-timestamp-mode-performance\r\nm-lap-us-\d+\r\nm-init-done\r\nm-ready\r\n", banner)
        assert name == b"m-name-dut-[mmoe-embed]\r\nm-ready\r\n"
        assert b"[mmoe-embed test mps2-an386]" in profile


def build_probe(machine: Machine, folder: Path, code: str) -> Path:
    """An image of the port alone, with `code` as its mmoe_main."""
    require_tool("arm-none-eabi-gcc")
    (folder / "probe.c").write_text('#include "mmoe_runtime.h"\n' + code)
    (folder / "probe.ld").write_text(render_linker_script(machine))
    port = [
        file
        for file in sources("cortex_m", machine.console)
        if "ports/cortex_m" in str(file) or "freestanding" in str(file)
    ]
    run(
        [
            "arm-none-eabi-gcc",
            "-mthumb",
            *machine.gcc,
            *WARNINGS,
            "-O1",
            "-ffreestanding",
            '-DMMOE_BOARD="probe"',
            *(f"-D{key}={value}" for key, value in machine.defines.items()),
            *include_flags("cortex_m"),
            *port,
            folder / "probe.c",
            "-nostdlib",
            f"-Wl,-T,{folder / 'probe.ld'}",
            "-Wl,--no-warn-rwx-segments",
            "-lgcc",
            "-o",
            folder / "probe.elf",
        ]
    )
    return folder / "probe.elf"


def read_until(port: int, end: bytes) -> bytes:
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        while end not in received:
            data = connection.recv(4096)
            assert data, received
            received += data
    return received


FAULTS = {
    "bad address": "*(volatile uint32_t *)0xF0000000u = 1;",
    "undefined instruction": '__asm__ volatile("udf #1");',
    "unaligned branch": "((void (*)(void))0xF0000001u)();",
}


@pytest.mark.parametrize("what", FAULTS)
@pytest.mark.parametrize("machine", ["mps3-an547", "mps2-an386", "netduinoplus2"])
def test_fault_is_reported(machine: str, what: str, tmp_path: Path) -> None:
    elf = build_probe(MACHINES[machine], tmp_path, f"void mmoe_main(void) {{ {FAULTS[what]} }}\n")
    with emulate(elf, MACHINES[machine]) as (port, _):
        report = read_until(port, b"]\r\n")
    assert re.search(rb"e-\[Fault pc [0-9a-f]{8} lr [0-9a-f]{8} cfsr [0-9a-f]{8} address [0-9a-f]{8}\]", report), report


def test_stack_overflow_is_reported_on_armv8m(tmp_path: Path) -> None:
    code = """
void mmoe_main(void) {
    volatile uint8_t hole[1 << 16];
    for (uint32_t i = sizeof hole; i--;) hole[i] = 1;
}
"""
    elf = build_probe(MACHINES["mps3-an547"], tmp_path, code)
    with emulate(elf, MACHINES["mps3-an547"]) as (port, _):
        assert b"e-[Fault" in read_until(port, b"]\r\n")


@pytest.mark.parametrize(("machine", "wraps"), [("mps3-an547", 1), ("netduinoplus2", 4)])
def test_ticks_are_monotonic_over_wraps(machine: str, wraps: int, tmp_path: Path) -> None:
    """SysTick wraps every 2^24 ticks: read all the time, the 64-bit count must never step back or jump."""
    code = (
        f"enum {{ WRAPS = {wraps} }};"
        + """
void mmoe_main(void) {
    const uint64_t start = mmoe_port_ticks();
    uint64_t last = start, most = 0;
    while (last - start < ((uint64_t)WRAPS << 24) + 100000) {
        for (volatile int i = 0; i < 60; i++) {} /* emulated devices are slow to read */
        const uint64_t now = mmoe_port_ticks();
        if (now < last) mmoe_port_write("back\\r\\n", 6);
        if (now - last > most) most = now - last;
        last = now;
    }
    mmoe_port_write(most < 1000 ? "good\\r\\n" : "jump\\r\\n", 6);
    for (;;) {}
}
"""
    )
    elf = build_probe(MACHINES[machine], tmp_path, code)
    with emulate(elf, MACHINES[machine]) as (port, _):
        assert read_until(port, b"\r\n") == b"good\r\n"


def test_sources_name_existing_files() -> None:
    for target, console in (("host", "host"), ("cortex_m", "cmsdk-uart"), ("cortex_m", "stm32-usart")):
        assert all(file.is_file() for file in sources(target, console))
    assert (FIRMWARE / "ports/cortex_m/linker.ld.j2").is_file()
