"""`mmoe-embed doctor`: what is installed, what is missing, how to get it."""

import dataclasses

from mmoe_embed.cli.output import Result, verb
from mmoe_embed.doctor import diagnose, render_diagnosis
from mmoe_embed.errors import ToolchainError


@verb("doctor")
def command() -> Result:
    """Say what is installed, what is missing, and the command that installs it."""
    diagnosis = diagnose()
    missing = [finding.name for finding in diagnosis.missing]
    data = dataclasses.asdict(diagnosis) | {"missing": missing, "ok": diagnosis.ok}
    return Result(data, render_diagnosis(diagnosis), exit_code=0 if diagnosis.ok else ToolchainError.exit_code)
