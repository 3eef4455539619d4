"""Running kernel programs on their cores."""

import subprocess
from pathlib import Path

from mmoe_embed.bench.targets import Target
from mmoe_embed.errors import DeviceError


def command_of(target: Target, program: Path) -> list[str]:
    """Build the command that runs a program of `build_program`."""
    if target.name == "qemu_aarch64":
        return ["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu", str(program)]
    if target.is_host:
        return [str(program)]
    return [
        "qemu-system-arm", "-machine", target.machine, "-nographic", "-monitor", "none", "-serial", "none",
        "-semihosting-config", "enable=on,target=native", "-icount", "shift=0", "-kernel", str(program),
    ]  # fmt: skip


def run_program(target: Target, program: Path, timeout_s: float = 300) -> str:
    """Run a program to its end and return what it printed.

    Raises:
        DeviceError: it failed or did not end.
    """
    command = command_of(target, program)
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout_s, check=False, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as error:
        raise DeviceError(f"{program.name} did not end in {timeout_s:g} s", at=" ".join(command)) from error
    if done.returncode:
        raise DeviceError(
            f"{program.name} ended with {done.returncode}: {(done.stdout + done.stderr)[-2000:].strip()}",
            at=" ".join(command),
        )
    return done.stdout + done.stderr
