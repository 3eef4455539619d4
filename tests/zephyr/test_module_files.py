"""What Zephyr reads of the repository: module.yml, Kconfig, west.yml, the suites' own files; no tree is needed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pykwalify.core
import pytest
import trees
import west.manifest
import yaml
from zephyr_tree import MODULE, ROOT, SAMPLE, SUITES

# of Zephyr's METADATA_SCHEMA (scripts/zephyr_module.py), the keys that are used here; with a tree its own schema is taken
SCHEMA = """
type: map
mapping:
  name: {type: str}
  build: {type: map, mapping: {cmake: {type: str}, kconfig: {type: str}}}
  samples: {type: seq, sequence: [{type: str}]}
  tests: {type: seq, sequence: [{type: str}]}
"""

KCONFIG = """
config CPU_HAS_FPU
	bool "has an FPU"
config FPU
	bool "FPU"
	depends on CPU_HAS_FPU
config FPU_SHARING
	bool "FPU in several threads"
config ARMV8_1_M_MVEI
	bool "Helium"
config ARMV8_M_DSP
	bool "DSP"
config CPU_CORTEX_M4
	bool "M4"
config SERIAL
	def_bool y
config UART_INTERRUPT_DRIVEN
	bool "interrupts"
config SERIAL_SUPPORT_INTERRUPT
	def_bool y
source "{module}/Kconfig"
"""


def module_file() -> dict[str, object]:
    data: dict[str, object] = yaml.safe_load((ROOT / "zephyr" / "module.yml").read_text())
    return data


def test_module_yml_keeps_to_the_schema() -> None:
    pykwalify.core.Core(source_data=module_file(), schema_data=yaml.safe_load(SCHEMA)).validate()


def test_module_yml_names_what_is_there() -> None:
    data = module_file()
    build = data["build"]
    assert isinstance(build, dict)
    assert (ROOT / build["cmake"] / "CMakeLists.txt").is_file()
    assert (ROOT / build["kconfig"]).is_file()
    for key in ("samples", "tests"):
        folders = data[key]
        assert isinstance(folders, list)
        for folder in folders:
            assert (ROOT / folder).is_dir()


def test_west_yml_of_the_example_needs_three_lines() -> None:
    text = (SAMPLE / "west.yml").read_text()
    manifest = west.manifest.Manifest.from_data(text, import_flags=west.manifest.ImportFlag.IGNORE)
    (project,) = [p for p in manifest.projects if p.name == "mmoe-embed"]
    assert all((ROOT / file).is_file() for file in project.west_commands)
    assert project.west_commands
    entry = text.partition("- name: mmoe-embed")
    assert len((entry[1] + entry[2]).splitlines()) == 3


def test_twister_files_have_the_names_that_every_zephyr_reads() -> None:
    # tests.yaml is read by Zephyr 4.5 and later only, which reads these as well
    suites = [file.parent for file in SUITES.glob("*/CMakeLists.txt")]
    files = [SAMPLE / "sample.yaml", *(folder / "testcase.yaml" for folder in suites)]
    assert len(files) > 1
    for file in files:
        assert yaml.safe_load(file.read_text())["tests"], file


def configure(folder: Path, tree: str, *settings: str) -> dict[str, str]:
    """Kconfig's defaults over some settings, as a new process: kconfiglib loads its functions once."""
    (folder / "zephyr.dts").write_text(tree)
    (folder / "Kconfig").write_text(KCONFIG.replace("{module}", str(MODULE)))
    (folder / "prj.conf").write_text("".join(f"CONFIG_{setting}\n" for setting in ("MMOE_EMBED=y", *settings)))
    script = (
        "import kconfiglib, sys; k = kconfiglib.Kconfig('Kconfig', warn_to_stderr=False); k.load_config('prj.conf');"
        "k.write_config('.config'); print(chr(10).join(k.warnings))"
    )
    environment = dict(os.environ) | {
        "MMOE_TEST_DTS": str(folder / "zephyr.dts"),
        "PYTHONPATH": str(Path(__file__).parent),
    }
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stdout.strip(), done.stdout
    lines = [
        line.partition("=") for line in (folder / ".config").read_text().splitlines() if line.startswith("CONFIG_")
    ]
    return {name.removeprefix("CONFIG_"): value for name, _, value in lines}


@pytest.mark.parametrize(
    ("settings", "kernels"),
    [
        (["CPU_HAS_FPU=y", "ARMV8_1_M_MVEI=y", "ARMV8_M_DSP=y"], "MVE"),
        (["CPU_HAS_FPU=y", "FPU=n", "ARMV8_1_M_MVEI=y", "ARMV8_M_DSP=y"], "DSP"),
        (["CPU_CORTEX_M4=y"], "DSP"),
        ([], "REFERENCE"),
    ],
    ids=["m55", "m55-without-fpu", "m4", "m3"],
)
def test_kernels_follow_the_soc(tmp_path: Path, settings: list[str], kernels: str) -> None:
    chosen = configure(tmp_path, trees.AN547, *settings)
    assert [k for k in chosen if k.startswith("MMOE_KERNELS_")] == [f"MMOE_KERNELS_{kernels}"]


def test_module_turns_the_fpu_on_where_there_is_one(tmp_path: Path) -> None:
    assert configure(tmp_path, trees.AN547, "CPU_HAS_FPU=y")["FPU"] == "y"
    assert "FPU" not in configure(tmp_path, trees.AN547)


@pytest.mark.parametrize(
    ("tree", "where"),
    [
        (trees.AN547, "MAPPED"),
        (trees.ONE_FLASH, "MAPPED"),
        (trees.SPI_FLASH, "FLASH_MAP"),
        (trees.SIMULATOR, "FLASH_MAP"),
        (trees.ONE_FLASH.replace("mmoe,experts = &experts;", ""), "IN_IMAGE"),
    ],
    ids=["qspi", "internal", "spi", "simulator", "none"],
)
def test_expert_port_follows_devicetree(tmp_path: Path, tree: str, where: str) -> None:
    chosen = configure(tmp_path, tree)
    assert [k for k in chosen if k.startswith("MMOE_EXPERTS_")] == [f"MMOE_EXPERTS_{where}"]


def test_no_heap_is_asked_for() -> None:
    text = "".join(file.read_text() for file in [MODULE / "Kconfig", SAMPLE / "prj.conf", *MODULE.glob("src/*.c")])
    for word in ("HEAP", "k_malloc", "malloc(", "k_free"):
        assert word not in text


def test_every_option_has_help() -> None:
    blocks = re.findall(r"^(?:menu)?config (\w+)\n((?:\t.*\n|\n(?=\t))+)", (MODULE / "Kconfig").read_text(), re.MULTILINE)
    assert len(blocks) > 10
    for name, block in blocks:
        assert "\thelp\n\t  " in block, name
