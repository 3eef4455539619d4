"""The wheel alone builds and runs a model for the host, outside the checkout."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from random_model import small_config, write_checkpoint

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.gcc
def test_wheel_builds_for_the_host_outside_the_checkout(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run(
        [*pip, "wheel", ROOT, "--no-deps", "--no-build-isolation", "-w", tmp_path / "dist"], check=True, timeout=300
    )
    wheel = next((tmp_path / "dist").glob("mmoe_embed-*.whl"))
    assert "-none-" in wheel.name  # any Python 3: the planner's core is a plain shared library

    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True, timeout=120)
    packages = next(venv.glob("lib/python3*/site-packages"))
    subprocess.run([*pip, "install", "--no-deps", "--target", packages, wheel], check=True, timeout=300)
    # what the product depends on comes from here; our own editable install stays out, as .pth files in it are not read
    (packages / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")

    checkpoint = write_checkpoint(tmp_path / "model", small_config())
    python = venv / "bin" / "python"
    cli = [python, "-c", "from mmoe_embed.cli import main; main()"]
    for arguments in (
        ["build", checkpoint, "--board", "host_x86_64", "-o", tmp_path / "build"],
        ["validate", tmp_path / "build", "--steps", "20"],
    ):
        done = subprocess.run(
            [*cli, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
    assert "bit-identical to the golden: 20 of 20 steps" in done.stdout
    where = subprocess.run(
        [python, "-c", "import mmoe_embed, memory_planner; print(mmoe_embed.__file__, memory_planner.__file__)"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    assert str(ROOT) not in where
