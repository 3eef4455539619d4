"""Real Zephyr: Twister runs the suites and the example on emulated boards and over a serial port; west builds, flashes,
validates and plans; the images have the bits of the bare-metal one."""

import json
import os
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from safetensors.numpy import load_file, save_file
from zephyr_tree import SAMPLE, SERIAL_BOARD, SUITES, Workspace

from mmoe_embed.build_folder import BuildFolder, load_build
from mmoe_embed.cli import main
from mmoe_embed.resources import boards_dir
from mmoe_embed.runners.process import start_process

pytestmark = [pytest.mark.zephyr, pytest.mark.slow, pytest.mark.timeout(3600)]
PLATFORMS = ("qemu_cortex_m3", "mps2/an385", "mps2/an521/cpu0", "mps3/corstone300/an547", "native_sim/native/64")
PATIENCE = ("--timeout-multiplier", "5")  # a test has a minute; this machine may have other work
WATCH = SAMPLE.parent / "watch"
# memories of mps3/corstone300/an547; the QSPI flash as the overlay of the example has it
ITCM, DTCM = range(0x1000_0000, 0x1008_0000), range(0x3000_0000, 0x3008_0000)
ISRAM, QSPI = range(0x3100_0000, 0x3140_0000), range(0x3800_0000, 0x3810_0000)
EVERY_STEP = re.compile(r"logits bit-identical to the golden: (\d+) of \1 steps")


def results_of(output: Path) -> dict[tuple[str, str], str]:
    """What Twister ran: (suite, platform) -> status."""
    found = json.loads((output / "twister.json").read_text())["testsuites"]
    return {
        (result["name"].rpartition("mmoe_embed.")[2], result["platform"]): result["status"]
        for result in found
        if result["status"] != "filtered"
    }


def folder_of(output: Path, suite: str, platform: str) -> Path:
    """Where Twister built a suite."""
    (config,) = output.glob(f"{platform.replace('/', '_')}*/**/mmoe_embed.{suite}/zephyr/.config")
    return config.parents[1]


@pytest.fixture(scope="module")
def twister(zephyr: Workspace) -> Path:
    """The suites and the example on every platform that can hold them; returns Twister's folder."""
    output = zephyr.top / "twister"
    chosen = [part for platform in PLATFORMS for part in ("-p", platform)]
    zephyr.west("twister", "-T", SUITES, "-T", SAMPLE, *chosen, *PATIENCE, "-O", output)
    return output


@pytest.fixture(scope="module")
def bare_metal(tmp_path_factory: pytest.TempPathFactory) -> BuildFolder:
    """The watch model without Zephyr; all its bits are the golden's."""
    folder = tmp_path_factory.mktemp("bare") / "watch"
    for arguments in (["build", WATCH, "--board", "qemu_mps3_an547", "-o", folder], ["validate", folder]):
        with pytest.raises(SystemExit) as exit_info:
            main([*map(str, arguments)])
        assert exit_info.value.code == 0
    return load_build(folder)


def test_twister_passes_the_suites(twister: Path) -> None:
    names = {p: f"{p}/ti_lm3s6965" if p == "qemu_cortex_m3" else p for p in PLATFORMS}
    wanted = {("model", name) for name in names.values()}
    wanted |= {("paging", names["qemu_cortex_m3"]), ("paging", "native_sim/native/64")}
    wanted |= {("watch", p) for p in PLATFORMS if p != "qemu_cortex_m3"}  # which has 256 KiB of flash
    assert results_of(twister) == dict.fromkeys(wanted, "passed")


@pytest.mark.parametrize("platform", [p for p in PLATFORMS if p != "qemu_cortex_m3"])
def test_the_example_has_the_bits_of_the_bare_metal_image(
    zephyr: Workspace, twister: Path, bare_metal: BuildFolder, platform: str
) -> None:
    folder = folder_of(twister, "watch", platform)
    assert EVERY_STEP.search(zephyr.west("mmoe-validate", "-d", folder))
    assert load_build(folder / "mmoe_embed").model_id == bare_metal.model_id


@pytest.mark.parametrize(
    ("platform", "kernels"),
    [("qemu_cortex_m3", "REFERENCE"), ("mps3/corstone300/an547", "MVE"), ("native_sim/native/64", "X86")],
)
def test_kernels_follow_the_soc(twister: Path, platform: str, kernels: str) -> None:
    config = (folder_of(twister, "model", platform) / "zephyr" / ".config").read_text()
    assert f"CONFIG_MMOE_KERNELS_{kernels}=y" in config


@pytest.mark.parametrize(
    ("suite", "platform"),
    [("watch", "mps3/corstone300/an547"), ("watch", "mps2/an385"), ("paging", "qemu_cortex_m3")],
)
def test_no_image_has_a_heap(twister: Path, suite: str, platform: str) -> None:
    with (folder_of(twister, suite, platform) / "zephyr" / "zephyr.elf").open("rb") as stream:
        table = ELFFile(stream).get_section_by_name(".symtab")
        names = {symbol.name for symbol in table.iter_symbols() if symbol["st_size"]}
        (stack,) = table.get_symbol_by_name("mmoe_stack") or [None]
    assert "mmoe_init" in names
    assert not [name for name in names if re.search("malloc|calloc|heap", name)]
    if suite == "watch":
        plan = load_build(folder_of(twister, suite, platform) / "mmoe_embed").plan
        assert stack["st_size"] >= plan["stack_bytes"] > 0


@pytest.mark.parametrize(
    ("suite", "expected"),
    [
        ("watch", {".mmoe_arena": DTCM, ".mmoe_kv": ISRAM, ".mmoe_slots": ISRAM, ".mmoe_experts": QSPI}),
        ("model", {".mmoe_arena": ISRAM, ".mmoe_kv": ISRAM, ".mmoe_slots": ISRAM, ".mmoe_experts": ITCM}),
    ],
)
def test_sections_lie_where_devicetree_chose(twister: Path, suite: str, expected: dict[str, range]) -> None:
    with (folder_of(twister, suite, "mps3/corstone300/an547") / "zephyr" / "zephyr.elf").open("rb") as stream:
        elf = ELFFile(stream)
        for name, memory in expected.items():
            section = elf.get_section_by_name(name)
            assert section["sh_size"] > 0
            assert section["sh_addr"] in memory
            assert section["sh_addr"] + section["sh_size"] - 1 in memory


def test_west_builds_flashes_and_validates(zephyr: Workspace) -> None:
    folder = zephyr.top / "build" / "tiny"
    zephyr.west("mmoe-build", "-d", folder, "-b", "qemu_cortex_m3", "--model", SUITES / "tiny", SAMPLE)
    assert "it runs build" in zephyr.west("mmoe-flash", "-d", folder)
    assert EVERY_STEP.search(zephyr.west("mmoe-validate", "-d", folder))


@pytest.mark.parametrize(
    ("board", "said"),
    [
        ("mps3/corstone300/an547", "devicetree against qemu_mps3_an547.toml: no disagreements\n"),
        ("mps2/an386", "sram0 at 0x20000000 has 4194304 B (/memory@20000000, zephyr,sram); qemu_mps2_an386.toml: ssram23 "
         "has 196608 B there (3997696 B fewer)"),
        ("native_sim/native/64", "plan for host_x86_64"),
    ],
)  # fmt: skip
def test_west_plans_in_the_memories_of_devicetree(zephyr: Workspace, board: str, said: str) -> None:
    assert said in zephyr.west("mmoe-plan", "-b", board, WATCH)


def test_what_the_model_is_made_of_is_emitted_again(zephyr: Workspace, checkpoint: Path, tmp_path: Path) -> None:
    model = shutil.copytree(checkpoint, tmp_path / "model")
    app = shutil.copytree(SAMPLE, tmp_path / "app")
    text = (app / "CMakeLists.txt").read_text()
    (app / "CMakeLists.txt").write_text(text.replace("MODEL ../watch", "MODEL ../model BOARD mine.toml"))
    board = app / "mine.toml"
    board.write_text((boards_dir() / "host_x86_64.toml").read_text().replace('"host_x86_64"', '"mine"'))

    def build() -> BuildFolder:
        return load_build(zephyr.build("again", "-b", "native_sim/native/64", app))

    first = build()
    assert build().record == first.record
    weights = load_file(model / "model.safetensors")
    weights["norm.weight"] *= 2
    save_file(weights, model / "model.safetensors")
    second = build()
    assert second.model_id != first.model_id
    config = model / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"rope_theta": 5000.0}))
    third = build()
    assert third.model_id != second.model_id
    board.write_text(board.read_text().replace("0x1000_0000", "0x0080_0000"))
    fourth = build()
    assert fourth.model_id == third.model_id
    assert fourth.build_id != third.build_id


@pytest.fixture
def hardware_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A board on a serial port: QEMU behind a pair of pseudo-terminals, started anew by `west flash`."""
    ours, theirs, pid = (tmp_path / name for name in ("port", "board", "pid"))
    monkeypatch.setenv("SERIAL_BOARD_PORT", str(theirs))
    monkeypatch.setenv("SERIAL_BOARD_PID", str(pid))
    file = tmp_path / "map.yaml"
    file.write_text(
        f"- connected: true\n  id: '0001'\n  platform: mps2/an385\n  product: QEMU\n  runner: misc-flasher\n"
        f"  serial: {ours}\n  baud: 115200\n  flash_timeout: 300\n"  # 60 s else; this machine may have other work
    )
    command = ["socat", "-d", "-d", *(f"pty,raw,echo=0,link={end}" for end in (ours, theirs))]
    with start_process(command, re.compile("starting data transfer loop"), what="socat"):
        yield file
        if pid.is_file():
            os.kill(int(pid.read_text()), signal.SIGTERM)


def test_a_board_on_a_serial_port_works_through_twisters_hardware_map(zephyr: Workspace, hardware_map: Path) -> None:
    output = zephyr.top / "twister_device"
    device = ["--device-testing", "--hardware-map", hardware_map, f"-x=EXTRA_ZEPHYR_MODULES={SERIAL_BOARD}"]
    zephyr.west("twister", "-T", SUITES / "model", "-T", SAMPLE, *device, *PATIENCE, "-O", output)
    assert results_of(output) == {("model", "mps2/an385"): "passed", ("watch", "mps2/an385"): "passed"}
    assert {result["dut"] for result in json.loads((output / "twister.json").read_text())["testsuites"]} == {"0001"}

    folder = folder_of(output, "watch", "mps2/an385")
    zephyr.west("flash", "--skip-rebuild", "--runner", "misc-flasher", "-d", folder)
    assert EVERY_STEP.search(zephyr.west("mmoe-validate", "-d", folder, "--hardware-map", hardware_map))
