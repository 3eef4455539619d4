"""West loads the commands in a workspace that has no Zephyr, and they do there what needs none."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import trees
from zephyr_tree import MMOE_EMBED, ROOT

CONFIG = 'CONFIG_BOARD_TARGET="mps3/corstone300/an547"\n'
COMMANDS = ("mmoe-build", "mmoe-flash", "mmoe-validate", "mmoe-plan")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest with mmoe-embed alone, as `west init -l app; west update` would leave it."""
    top = tmp_path_factory.mktemp("workspace")
    project = top / "mmoe-embed"
    for folder in (top / ".west", top / "app", project):
        folder.mkdir()
    for name in ("firmware", "examples/zephyr_watch"):  # west follows no link out of a project
        shutil.copytree(ROOT / name, project / name)
    subprocess.run(["git", "init", "-q", project], check=True, timeout=60)
    (top / ".west" / "config").write_text("[manifest]\npath = app\nfile = west.yml\n")
    (top / "app" / "west.yml").write_text(
        "manifest:\n  projects:\n    - name: mmoe-embed\n      url: file:///nowhere\n"
        "      west-commands: firmware/zephyr/west-commands.yml\n"
    )
    return top


def west(workspace: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "ZEPHYR_BASE"} | {"MMOE_EMBED_PROGRAM": str(MMOE_EMBED)}
    command = [sys.executable, "-m", "west", *map(str, arguments)]
    return subprocess.run(
        command, cwd=workspace, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def test_west_lists_the_commands(workspace: Path) -> None:
    done = west(workspace, "help")
    assert done.returncode == 0, done.stderr
    for name in COMMANDS:
        assert f"  {name}:" in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_west_command_has_help(workspace: Path, name: str) -> None:
    done = west(workspace, name, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: west {name} [-h] ")


@pytest.mark.parametrize("name", ["mmoe-flash", "mmoe-validate"])
def test_west_command_without_a_build_says_how_to_get_one(workspace: Path, name: str) -> None:
    done = west(workspace, name, "-d", "nowhere")
    assert done.returncode == 1
    assert "no image with a model in nowhere\n  try: west mmoe-build -b BOARD -d nowhere APPLICATION" in done.stderr


@pytest.mark.gcc
def test_west_flash_and_validate_run_the_tool(workspace: Path, checkpoint: Path) -> None:
    folder = workspace / "build" / "mmoe_embed"
    subprocess.run([MMOE_EMBED, "build", checkpoint, "--board", "host_x86_64", "-o", folder], check=True, timeout=300)
    done = west(workspace, "mmoe-validate", "--steps", "20")
    assert done.returncode == 0, done.stderr
    assert "bit-identical to the golden: 20 of 20 steps" in done.stdout
    done = west(workspace, "mmoe-flash", "--dry-run")
    assert done.stdout.strip() == str(folder / "firmware")


def test_west_validate_passes_the_exit_code_on(workspace: Path, checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "mmoe_embed").mkdir()
    (tmp_path / "mmoe_embed" / "build.json").write_text('{"format": 99}')
    done = west(workspace, "mmoe-validate", "-d", tmp_path)
    assert done.returncode == 6
    assert "build folder of format 99" in done.stderr


def test_west_plan_reads_the_devicetree_of_a_build(workspace: Path, checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "zephyr").mkdir()
    (tmp_path / "zephyr" / "zephyr.dts").write_text(trees.AN547.replace("0x30000000 0x80000", "0x30000000 0x20000"))
    (tmp_path / "zephyr" / ".config").write_text(CONFIG + "CONFIG_MMOE_EMBED_OTHER_RAM_BYTES=20000\n")
    done = west(workspace, "mmoe-plan", "-d", tmp_path, checkpoint, "--expert-slots", "4")
    assert done.returncode == 0, done.stderr
    assert "qemu_mps3_an547.toml: dtcm has 524288 B there (393216 B more)" in done.stdout
    assert "4 slots" in done.stdout
    assert "in isram" in done.stdout


def test_west_plan_fails_as_the_plan_does(workspace: Path, checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "zephyr").mkdir()
    (tmp_path / "zephyr" / "zephyr.dts").write_text(trees.AN547.replace("0x30000000 0x80000", "0x30000000 0x3000"))
    (tmp_path / "zephyr" / ".config").write_text(CONFIG)
    done = west(workspace, "mmoe-plan", "-d", tmp_path, checkpoint)
    assert done.returncode == 3
    assert "does not fit mps3_corstone300_an547" in done.stderr


def test_west_build_without_zephyr_says_what_the_workspace_lacks(workspace: Path, checkpoint: Path) -> None:
    done = west(workspace, "mmoe-plan", "-b", "qemu_cortex_m3", checkpoint)
    assert done.returncode == 1
    assert "west build needs Zephyr in this workspace's manifest" in done.stderr
