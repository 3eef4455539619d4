"""The pytest plugin as a firmware project meets it: in a folder of its own, found by its entry point."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mmoe_embed.board import load_board
from mmoe_embed.build_folder import BuildFolder
from mmoe_embed.errors import DeviceError, ToolkitError
from mmoe_embed.golden import Golden
from mmoe_embed.hardware_map import find_device, load_hardware_map
from mmoe_embed.quantized import load_quantized
from mmoe_embed.runners import start_board

ROOT = Path(__file__).resolve().parents[2]

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(tmp_path: Path, host_build: BuildFolder) -> Run:
    """Runs pytest over the README's example, its expected answer being that of the small test model."""
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "toolkit/README.md").read_text(), re.DOTALL)
    assert len([line for line in example.splitlines() if line]) <= 5
    request = re.findall(r'ask\("(.*?)"\)', example)[0]
    answer = Golden(load_quantized(host_build.quantized)).generate(request)
    (tmp_path / "test_board.py").write_text(example.replace('"alarm(06:10)"', repr(answer)))

    def call(*arguments: str, **environment: str) -> tuple[int, str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("MMOE_EMBED_", "PYTEST_"))}
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--rootdir",
            str(tmp_path),
            *arguments,
        ]
        done = subprocess.run(
            command, cwd=tmp_path, env=clean | environment, capture_output=True, text=True, check=False, timeout=400
        )
        return done.returncode, done.stdout + done.stderr

    return call


@pytest.mark.gcc
def test_example_of_the_readme_on_the_emulator(run: Run, host_build: BuildFolder) -> None:
    code, out = run("--mmoe-build", str(host_build.path))
    assert code == 0, out
    assert "2 passed" in out


@pytest.mark.gcc
def test_port_by_option_environment_and_hardware_map(run: Run, host_build: BuildFolder, tmp_path: Path) -> None:
    hardware = tmp_path / "map.yml"
    with start_board(load_board(host_build.board), host_build.elf) as url:
        hardware.write_text(
            "- connected: false\n  platform: host_x86_64\n  serial: /dev/null\n"
            "- connected: true\n  id: 000683759358\n  platform: frdm_k64f/mk64f12\n  product: DAPLink CMSIS-DAP\n"
            "  runner: pyocd\n  serial: /dev/ttyACM0\n  baud: 115200\n  fixtures: [i2c_loopback]\n"
            f"- connected: true\n  platform: host_x86_64\n  serial: {url}\n  baud: 9600\n"
        )
        for arguments, environment in (
            (["--mmoe-port", url], {}),
            (["--mmoe-hardware-map", str(hardware)], {}),
            ([], {"MMOE_EMBED_PORT": url}),
            ([], {"MMOE_EMBED_HARDWARE_MAP": str(hardware)}),
        ):
            code, out = run(*arguments, "-k", "wakes", MMOE_EMBED_BUILD=str(host_build.path), **environment)
            assert code == 0, out
            assert "1 passed" in out


@pytest.mark.gcc
def test_wrong_answer_and_missing_build(run: Run, host_build: BuildFolder, tmp_path: Path) -> None:
    file = tmp_path / "test_board.py"
    file.write_text(file.read_text().replace("== ", "== 'not ' + "))
    code, out = run("--mmoe-build", str(host_build.path), "-k", "wakes")
    assert code == 1
    assert "AssertionError" in out
    assert "--mmoe-build DIR, or MMOE_EMBED_BUILD" in run()[1]
    wrong = run("--mmoe-build", str(tmp_path))[1]
    assert "is not a finished build" in wrong
    assert "Traceback" not in wrong
    assert "During handling" not in wrong
    assert "errors.py" not in wrong
    assert "no baud rate" in run("--mmoe-build", str(host_build.path), "--mmoe-baud", "fast")[1]


def test_hardware_map_finds_the_zephyr_name(tmp_path: Path) -> None:
    file = tmp_path / "map.yml"
    file.write_text("- {connected: true, platform: nrf5340dk/nrf5340/cpuapp, serial: /dev/ttyACM3, id: 12, notes: x}\n")
    devices = load_hardware_map(file)
    assert find_device(devices, load_board("nordic_nrf5340dk"), file).serial == "/dev/ttyACM3"
    with pytest.raises(DeviceError, match="no connected st_nucleo_f446re") as caught:
        find_device(devices, load_board("st_nucleo_f446re"), file)
    assert "nrf5340dk/nrf5340/cpuapp" in caught.value.try_


def test_hardware_map_with_no_baud_rate(tmp_path: Path) -> None:
    file = tmp_path / "map.yml"
    file.write_text("- {connected: true, platform: mps2/an386, serial: /dev/ttyACM3, baud: -3}\n")
    with pytest.raises(ToolkitError, match=r"`int` >= 1 - at `\$\[0\].baud`"):
        load_hardware_map(file)


@pytest.mark.parametrize("platform", ["frdm_k64f mps2/an386", "[frdm_k64f, mps2/an386]"])
def test_hardware_map_of_a_board_with_several_names(tmp_path: Path, platform: str) -> None:
    file = tmp_path / "map.yml"
    file.write_text(
        f"- {{connected: true, platform: {platform}, serial: /dev/ttyACM3, id: a, product: b, runner: c}}\n"
    )
    assert find_device(load_hardware_map(file), load_board("qemu_mps2_an386"), file).serial == "/dev/ttyACM3"


@pytest.mark.parametrize(
    ("text", "words"),
    [("- serial: 7\n", "Expected"), ("serial: x\n", "Expected `array`"), ("- [\n", "no hardware map")],
)
def test_hardware_map_wrong(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "map.yml"
    file.write_text(text)
    with pytest.raises(ToolkitError, match=words):
        load_hardware_map(file)
    with pytest.raises(ToolkitError, match="no such hardware map"):
        load_hardware_map(tmp_path / "nowhere.yml")
