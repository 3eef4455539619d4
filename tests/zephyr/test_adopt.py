"""An image that another build system linked: here a plain compiler command."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from zephyr_tree import ROOT

from mmoe_embed.adopt import adopt_image
from mmoe_embed.board import load_board
from mmoe_embed.cli import main
from mmoe_embed.compile import kernel_sources
from mmoe_embed.errors import FitError, MismatchError, ToolkitError
from mmoe_embed.toolchain import ZIG

FIRMWARE, KERNELS = ROOT / "firmware", ROOT / "kernels_cmsis"


def emit(checkpoint: Path, folder: Path, *options: str) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(["emit", str(checkpoint), "--board", "host_x86_64", "-o", str(folder / "gen"), "--record", str(folder),
              *options])  # fmt: skip
    assert exit_info.value.code == 0


def link(folder: Path) -> Path:
    """The whole firmware in one command, as a program for this machine."""
    gen, elf = folder / "gen", folder / "program"
    sources = [*FIRMWARE.glob("src/*.c"), *FIRMWARE.glob("ports/host/host_*.c")]
    sources += [FIRMWARE / "ports/host/threads.c", FIRMWARE / "ports/storage_mapped.c"]
    sources += [*(KERNELS / "reference").glob("*.c"), gen / "model.c", gen / "tokens.c", *gen.glob("*.S")]
    includes = [gen, FIRMWARE / "include", FIRMWARE / "src", FIRMWARE / "ports", FIRMWARE / "ports/host", KERNELS / "include",
                KERNELS / "reference"]  # fmt: skip
    command = ["gcc", "-std=c11", "-O1", "-ffp-contract=off", "-fno-math-errno", '-DMMOE_BOARD="other"']
    command += [*(f"-I{path}" for path in includes), *map(str, sources), "-o", str(elf), "-lpthread"]
    subprocess.run(command, check=True, cwd=gen, timeout=300)
    return elf


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Path:
    folder = tmp_path_factory.mktemp("project")
    emit(checkpoint, folder)
    link(folder)
    return folder


@pytest.mark.gcc
def test_adopted_image_validates(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["adopt", str(project), "--elf", str(project / "program")])
    with pytest.raises(SystemExit) as exit_info:
        main(["validate", str(project), "--steps", "20"])
    assert exit_info.value.code == 0
    assert "logits bit-identical to the golden: 20 of 20 steps" in capsys.readouterr().out


@pytest.mark.gcc
def test_adopt_refuses_an_image_of_another_emission(project: Path, checkpoint: Path, tmp_path: Path) -> None:
    emit(checkpoint, tmp_path, "--expert-slots", "4")
    with pytest.raises(MismatchError, match="does not hold build"):
        adopt_image(tmp_path, project / "program")


@pytest.mark.arm
def test_adopt_refuses_a_stack_that_is_too_small(checkpoint: Path, tmp_path: Path) -> None:
    emit(checkpoint, tmp_path)
    build_id = json.loads((tmp_path / "emitted.json").read_text())["build_id"]
    words = ", ".join(f"0x{byte:02x}" for byte in bytes.fromhex(build_id))
    (tmp_path / "deep.c").write_text(
        f"const volatile unsigned char id[] = {{{words}}}; void mmoe_port_write(void *);\n"
        "void mmoe_main_receive(void) { char room[4000]; mmoe_port_write(room); }\n"
        "void mmoe_port_write(void *p) { (*(void (**)(void))p)(); }\n"  # a driver's pointer: not followed
        "int main(void) { mmoe_main_receive(); return id[0]; }\n"
    )
    command = [*ZIG, "cc", "-target", "thumb-freestanding-eabi", "-mcpu=cortex_m3", "-g", "-O1"]
    subprocess.run(
        [*command, "-nostdlib", "-fno-inline", "-Wl,-e,main", "deep.c", "-o", "deep.elf"], cwd=tmp_path, check=True
    )
    with pytest.raises(FitError, match=r"it needs 40\d\d B and 512 B for the system's .* has 4096 B \(4\d\d B over\)"):
        adopt_image(tmp_path, tmp_path / "deep.elf")


def test_adopt_names_what_is_missing(tmp_path: Path, checkpoint: Path) -> None:
    with pytest.raises(ToolkitError, match="nothing was emitted into"):
        adopt_image(tmp_path, tmp_path / "program")
    emit(checkpoint, tmp_path)
    with pytest.raises(ToolkitError, match="there is no image"):
        adopt_image(tmp_path, tmp_path / "program")


def test_emit_refuses_a_record_that_is_not_above_the_files(
    tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(["emit", str(checkpoint), "--board", "host_x86_64", "-o", str(tmp_path / "a"), "--record", str(tmp_path)])
    assert exit_info.value.code == 1
    assert f"-o {tmp_path / 'gen'} --record {tmp_path}" in capsys.readouterr().err


def test_depfile_names_the_checkpoint_the_sources_and_this_package(tmp_path: Path, checkpoint: Path) -> None:
    emit(checkpoint, tmp_path)
    text = (tmp_path / "emit.d").read_text()
    assert text.startswith(f"{tmp_path / 'gen' / 'model.h'}: \\\n")
    for file in (checkpoint / "model.safetensors", FIRMWARE / "src/pager.c", ROOT / "toolkit/mmoe_embed/plan.py"):
        assert f"  {file}" in text
    # Make is the format's own reader
    done = subprocess.run(["make", "-n", "-f", tmp_path / "emit.d"], capture_output=True, text=True, check=False)
    assert "is up to date" in done.stdout + done.stderr or "Nothing to be done" in done.stdout + done.stderr


def test_plan_counts_the_ram_of_the_rest_of_the_firmware(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    used = []
    for options in ([], ["--other-ram", "10000"]):
        with pytest.raises(SystemExit):
            main(["plan", str(checkpoint), "--board", "qemu_mps2_an386", "--json", *options])
        used.append(json.loads(capsys.readouterr().out)["data"]["sram_used_bytes"])
    assert used[1] - used[0] == 10000


@pytest.mark.gcc
def test_list_sources_gives_cmake_the_files_of_sources_toml() -> None:
    script = ROOT / "firmware/zephyr/list_sources.py"
    done = subprocess.run([sys.executable, script, "mve", "dsp"], capture_output=True, text=True, check=True)
    lists = {line.partition(" ")[0].removeprefix("set("): line for line in done.stdout.splitlines()}
    assert "firmware/src/pager.c" in lists["MMOE_SOURCES"]
    assert "memory.c" not in lists["MMOE_SOURCES"]
    assert "memory.c" in lists["MMOE_MODEL_SOURCES"]
    assert "mve/mmoe_matvec_s8.c" in lists["MMOE_SOURCES"]
    assert "reference/mmoe_matvec_s8.c" not in lists["MMOE_SOURCES"]
    assert "-ffp-contract=off" in lists["MMOE_NUMERIC_FLAGS"]
    kernels = [file for file in lists["MMOE_SOURCES"].split('"') if "/kernels_cmsis/" in file]
    assert kernels == [str(file) for file in kernel_sources(load_board("qemu_mps3_an547"))]
