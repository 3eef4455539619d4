"""Operators, delegate and runner for AArch64 Linux, on the wheel's own AArch64 runtime under qemu-user."""

import sys
import zipfile
from importlib.metadata import version

import pytest
from programs import plan_program
from random_model import small_config, write_checkpoint
from runs import CHECK_PROMPT, check_golden, run

from mmoe_embed.checkpoint import load_checkpoint
from mmoe_embed.executorch.export import export_program
from mmoe_embed.executorch.library import build_runner
from mmoe_embed.quantize import quantize_checkpoint

pytestmark = [
    pytest.mark.executorch,
    pytest.mark.aarch64,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]
CROSS = (
    "-DCMAKE_SYSTEM_NAME=Linux",
    "-DCMAKE_SYSTEM_PROCESSOR=aarch64",
    "-DCMAKE_C_COMPILER=aarch64-linux-gnu-gcc",
    "-DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++",
)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The folder `executorch` of the wheel for AArch64, of the installed version."""
    folder = tmp_path_factory.mktemp("wheel")
    wanted = f"executorch=={version('executorch')}"
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--dest", str(folder)]
    command += ["--platform", "manylinux_2_28_aarch64", "--python-version", python, wanted]
    done = run(*command, timeout_s=300)
    if done.returncode:
        pytest.skip(f"no wheel of {wanted} for AArch64 can be had here: {done.stderr.strip().splitlines()[-1]}")
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder)
    return folder / "executorch"


@pytest.fixture(scope="module")
def runner(package, tmp_path_factory):
    return build_runner(tmp_path_factory.mktemp("runner"), "linux_aarch64", package, CROSS)


@pytest.mark.parametrize(("slots", "beside"), [(None, False), (3, False), (4, True)])
def test_runner_on_aarch64_has_the_goldens_bits(runner, tmp_path, slots, beside):
    checkpoint = write_checkpoint(tmp_path / "checkpoint", small_config(), seed=8)
    model, file = quantize_checkpoint(load_checkpoint(checkpoint), "int4"), tmp_path / "model.pte"
    export_program(model, file, plan_program(model, 4, slots), beside=beside)
    data = ["--data", file.with_suffix(".ptd")] if beside else []
    command = ["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu", runner, file, *data, "--logits", "--count", 6]
    done = run(*command, *CHECK_PROMPT, timeout_s=300)
    assert done.returncode == 0, done.stderr
    check_golden(model, done.stdout, 6)
