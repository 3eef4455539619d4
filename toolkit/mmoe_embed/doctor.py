"""What is installed, what is missing, and the command that gets it."""

import dataclasses
import importlib.metadata
import platform
import re
import subprocess
import sys
from typing import Literal

from serial.tools import list_ports  # type: ignore[import-untyped]

from mmoe_embed import __version__
from mmoe_embed.board import list_boards
from mmoe_embed.runners.probe import find_program

Need = Literal["required", "a microcontroller", "an emulated board", "training", "a phone", "a real board", "AArch64"]


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing the toolkit may need; `found` is its version, or None when it is missing."""

    name: str
    needed_for: Need
    found: str | None
    install: str


_PACKAGES: tuple[tuple[str, Need, str], ...] = (
    *((name, "required", f"pip install {name}") for name in (
        "click", "rich", "rich-click", "numpy", "safetensors", "tokenizers", "pyserial", "cobs", "msgspec",
        "jinja2", "pyelftools", "platformdirs",
    )),
    ("torch", "training", "pip install 'mmoe-embed[train]'"),
    ("executorch", "a phone", "pip install 'mmoe-embed[phone]'"),
    ("ziglang", "a microcontroller", "pip install ziglang==0.17.1 (a compiler without system packages)"),
    ("cmsis-pack-manager", "a real board", "pip install cmsis-pack-manager"),
)  # fmt: skip

_PROGRAMS: tuple[tuple[str, Need, str], ...] = (
    ("gcc", "required", "sudo apt-get install gcc"),
    ("clang", "required", "sudo apt-get install clang"),
    ("arm-none-eabi-gcc", "a microcontroller", "sudo apt-get install gcc-arm-none-eabi"),
    ("qemu-system-arm", "an emulated board", "sudo apt-get install qemu-system-arm"),
    ("aarch64-linux-gnu-gcc", "AArch64", "sudo apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross"),
    ("qemu-aarch64", "AArch64", "sudo apt-get install qemu-user"),
    ("pyocd", "a real board", "pip install pyocd"),
    ("openocd", "a real board", "sudo apt-get install openocd"),
    ("west", "a real board", "pip install west"),
)

# one of each group is enough
_ALTERNATIVES = (("gcc", "clang", "ziglang"), ("arm-none-eabi-gcc", "ziglang"), ("pyocd", "openocd"))


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """All findings, and whether the toolkit can do its basic work."""

    python: str
    system: str
    findings: tuple[Finding, ...]
    ports: tuple[str, ...]
    boards: tuple[str, ...]

    @property
    def missing(self) -> tuple[Finding, ...]:
        """What is not there and has no stand-in that is."""
        present = {finding.name for finding in self.findings if finding.found}
        return tuple(
            finding
            for finding in self.findings
            if finding.found is None
            and not any(finding.name in group and present.intersection(group) for group in _ALTERNATIVES)
        )

    @property
    def ok(self) -> bool:
        """Whether nothing that everything needs is missing."""
        return not any(finding.needed_for == "required" for finding in self.missing)


def diagnose() -> Diagnosis:
    """Look for packages, compilers, emulators, probes and ports; starts nothing but `--version`."""
    findings = [Finding(name, need, _package_version(name), install) for name, need, install in _PACKAGES]
    findings += [Finding(name, need, _program_version(name), install) for name, need, install in _PROGRAMS]
    ports = tuple(f"{port.device} ({port.description})" for port in list_ports.comports())
    return Diagnosis(
        python=f"{platform.python_version()} at {sys.executable}",
        system=f"{platform.system()} {platform.machine()}",
        findings=tuple(findings),
        ports=ports,
        boards=tuple(list_boards()),
    )


def render_diagnosis(diagnosis: Diagnosis) -> str:
    """A table for a person, then what to install."""
    width = max(len(finding.name) for finding in diagnosis.findings)
    lines = [f"mmoe-embed {__version__}, Python {diagnosis.python}, {diagnosis.system}"]
    for finding in diagnosis.findings:
        lack = f"missing (for {finding.needed_for})" if finding in diagnosis.missing else "missing, another stands in"
        state = finding.found or lack
        lines.append(f"  {finding.name:<{width}}  {state}")
    lines.append(f"serial ports: {', '.join(diagnosis.ports) or 'none'}")
    lines.append(f"boards: {', '.join(diagnosis.boards)}")
    for finding in diagnosis.missing:
        lines.append(f"to get {finding.name} (for {finding.needed_for}): {finding.install}")
    lacking = ", ".join(dict.fromkeys(finding.needed_for for finding in diagnosis.missing))
    ready = f"ready, but not for {lacking}" if lacking else "ready"
    lines.append(ready if diagnosis.ok else "not ready: something that everything needs is missing")
    return "\n".join(lines)


def _package_version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _program_version(name: str) -> str | None:
    path = find_program(name)
    if path is None:
        return None
    try:
        done = subprocess.run(
            [path, "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
            check=False, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    text = done.stdout or done.stderr
    found = re.search(r"\d+\.\d+(\.\d+)?", text)
    return f"{found[0] if found else 'unknown version'} at {path}"
