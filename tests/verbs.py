"""Verbs as tests call them: in this process, or in one of their own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmoe_embed.cli import main

ROOT = Path(__file__).resolve().parents[1]
Run = Callable[..., tuple[int, str, str]]  # of the fixture `run`


def call_verb(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """A verb in this process: exit code, stdout, stderr."""
    with pytest.raises(SystemExit) as caught:
        main([*map(str, arguments)])
    out, err = capsys.readouterr()
    assert isinstance(caught.value.code, int)
    return caught.value.code, out, err


def run_cli(*arguments: object) -> dict[str, Any]:
    """A verb with --json in a process of its own, which must succeed; its data."""
    command = [sys.executable, "-c", "from mmoe_embed.cli import main; main()", *map(str, arguments), "--json"]
    path = os.pathsep.join([str(ROOT / "toolkit"), str(ROOT)])
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=500, env=os.environ | {"PYTHONPATH": path}, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    data: dict[str, Any] = json.loads(done.stdout)["data"]
    return data
