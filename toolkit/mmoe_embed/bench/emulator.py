"""Running kernel programs on their cores."""

import platform
import subprocess
from pathlib import Path

from mmoe_embed.bench.targets import Target
from mmoe_embed.errors import DeviceError


def command_of(target: Target, program: Path, cpu: str = "") -> list[str]:
    """Build the command that runs a program of `build_program`.

    Args:
        target: what it was built for.
        program: the executable.
        cpu: on hosts, the CPU to emulate, one of `target.cpus`; "" is this computer's where it can run the program.
    """
    if target.is_host:
        if not cpu and target.processor == platform.machine():
            return [str(program)]
        return [f"qemu-{target.processor}", "-cpu", cpu or target.cpus[0], str(program)]
    core = ("-cpu", target.cpus[0], "-nic", "none") if target.cpus else ()
    return [
        f"qemu-system-{target.processor or 'arm'}", "-machine", target.machine, *core,
        "-nographic", "-monitor", "none", "-serial", "none",
        "-semihosting-config", "enable=on,target=native", "-icount", "shift=0", "-kernel", str(program),
    ]  # fmt: skip


def run_program(target: Target, program: Path, timeout_s: float = 300, cpu: str = "") -> str:
    """Run a program to its end and return what it printed.

    Raises:
        DeviceError: it failed or did not end.
    """
    command = command_of(target, program, cpu)
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
