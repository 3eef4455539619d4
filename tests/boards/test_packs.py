"""CMSIS-Packs, offline: every way in which cmsis-pack-manager fails without a word, and what it drops."""

import json
import shutil
import socket
import struct
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import mmoe_embed.packs
from mmoe_embed.board import load_board, parse_board
from mmoe_embed.board_draft import check_board, compare_board, draft_board
from mmoe_embed.cli.boards import check_command, import_command
from mmoe_embed.errors import ToolkitError, UsageError
from mmoe_embed.flm import read_flm
from mmoe_embed.packs import read_pack_device
from mmoe_embed.resources import boards_dir

PDSC = """<?xml version="1.0" encoding="UTF-8"?>
<package schemaVersion="1.4">
  <vendor>Test</vendor><name>Chips_DFP</name><description>made by a test</description><url>http://localhost/</url>
  <releases><release version="1.2.3" date="2026-01-01">first</release></releases>
  <devices>
    <family Dfamily="F4" Dvendor="STMicroelectronics:13">
      <processor Dcore="Cortex-M4" DcoreVersion="r0p1" Dfpu="SP_FPU" Dmpu="MPU" Dendian="Little-endian"/>
      <subFamily DsubFamily="F407">
        <processor Dclock="168000000"/>
        <memory id="IRAM1" start="0x20000000" size="0x20000" default="1"/>
        <memory id="IRAM2" start="0x10000000" size="0x10000"/>
        <device Dname="STM32F407VG">
          <memory id="IROM1" start="0x08000000" size="0x100000" startup="1" default="1"/>
          <algorithm name="Flash\\F4.FLM" start="0x08000000" size="0x100000" default="1"/>
          <variant Dvariant="STM32F407VGTx"/>
        </device>
        <device Dname="STM32F407ZG">
          <memory id="IROM1" start="0x08000000" size="0x100000" startup="1" default="1"/>
          <variant Dvariant="STM32F407ZGTx"/><variant Dvariant="STM32F407ZGHx"/>
        </device>
      </subFamily>
    </family>
    <family Dfamily="New" Dvendor="ARM:82">
      <device Dname="M55">
        <processor Dcore="Cortex-M55" Dfpu="DP_FPU" Dmve="FP_MVE" Ddsp="DSP" Dclock="400000000" Dendian="Little-endian"/>
        <memory name="mram" access="rx" start="0x80000000" size="0x580000" startup="1"/>
        <memory name="sram" access="rw" start="0x02000000" size="0x400000"/>
      </device>
      <device Dname="DUAL">
        <processor Pname="big" Dcore="Cortex-M33" Dfpu="SP_FPU" Ddsp="DSP" Dclock="128000000" Dendian="Little-endian"/>
        <processor Pname="small" Dcore="Cortex-M0+" Dfpu="NO_FPU" Dclock="64000000" Dendian="Little-endian"/>
        <memory name="flash" Pname="big" access="rx" start="0" size="0x100000" startup="1"/>
        <memory name="net" Pname="small" access="rx" start="0x01000000" size="0x40000" startup="1"/>
        <memory name="ram" access="rwx" start="0x20000000" size="0x80000"/>
      </device>
    </family>
  </devices>
</package>
"""

# cores that cmsis-pack-manager does not know: one of them, and it is silent about the whole file
UNKNOWN_CORES = """
    <family Dfamily="Newer" Dvendor="ARM:82">
      <device Dname="M52">
        <processor Dcore="Cortex-M52" Dfpu="DP_FPU" Dmve="MVE" Dclock="100000000" Dendian="Little-endian"/>
        <memory name="rom" access="rx" start="0" size="4096" startup="1"/>
        <memory name="ram" access="rwx" start="0x20000000" size="8192"/>
      </device>
      <device Dname="ODD">
        <processor Dcore="ARMV81MML" Dendian="Little-endian"/>
        <memory name="ram" access="rwx" start="0x20000000" size="0x1000"/>
      </device>
    </family>
  </devices>"""

F4_SECTORS = ((0x4000, 0), (0x10000, 0x10000), (0x20000, 0x20000))


def flash_device(sectors: tuple[tuple[int, int], ...] = F4_SECTORS, size: int = 0x100000, page: int = 0x400) -> bytes:
    """struct FlashDevice of FlashOS.h."""
    header = struct.pack("<H128sHIIIIB3xII", 0x101, b"Test F4 Flash", 1, 0x08000000, size, page, 0, 0xFF, 100, 6000)
    return header + b"".join(struct.pack("<II", *s) for s in (*sectors, (0xFFFFFFFF, 0xFFFFFFFF)))


def build_flm(description: bytes, section: str = "DevDscr") -> bytes:
    """A small 32-bit Arm ELF with one section; built by hand, so that no compiler is needed."""
    names = b"\0" + section.encode() + b"\0.shstrtab\0"
    at = 52
    sections = at + len(description) + len(names)
    sections += -sections % 4
    body = (description + names).ljust(sections - at, b"\0")
    headers = [
        bytes(40),
        struct.pack("<10I", 1, 1, 2, 0, at, len(description), 0, 0, 4, 0),
        struct.pack("<10I", 2 + len(section), 3, 0, 0, at + len(description), len(names), 0, 0, 1, 0),
    ]
    ident = b"\x7fELF\x01\x01\x01" + bytes(9)
    return (
        ident
        + struct.pack("<HHIIIIIHHHHHH", 1, 40, 1, 0, 0, sections, 0, 52, 0, 0, 40, 3, 2)
        + body
        + b"".join(headers)
    )


@pytest.fixture
def pdsc(tmp_path: Path) -> Path:
    path = tmp_path / "Test.Chips_DFP.pdsc"
    path.write_text(PDSC)
    return path


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    path = tmp_path / "Test.Chips_DFP.1.2.3.pack"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("Test.Chips_DFP.pdsc", PDSC)
        archive.writestr("flash/f4.flm", build_flm(flash_device()))  # another case than the description says
    return path


# --- the ten silent failures, in the order of the table of which they come ---


def test_1_the_index_folder_is_made_first(pdsc: Path, capfd: pytest.CaptureFixture[str]) -> None:
    device = read_pack_device(pdsc, "STM32F407VGTx")
    assert not [remark for remark in device.remarks if "cmsis-pack-manager" in remark]
    captured = capfd.readouterr()
    assert "Could not open" not in captured.out + captured.err


def test_2_a_pack_is_unzipped_and_a_folder_searched(pack: Path, pdsc: Path) -> None:
    from_pack = read_pack_device(pack, "STM32F407VGTx")
    from_file = read_pack_device(pdsc, "STM32F407VGTx")
    pack.unlink()
    assert read_pack_device(pdsc.parent, "STM32F407VGTx").memories == from_pack.memories == from_file.memories
    assert [(m.name, m.start, m.size, m.access) for m in from_pack.memories] == [
        ("IROM1", 0x08000000, 0x100000, "rx"),
        ("IRAM2", 0x10000000, 0x10000, "rwx"),
        ("IRAM1", 0x20000000, 0x20000, "rwx"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<package><devices>", "not a pack description: no element found|unclosed"),
        ("", "not a pack description"),
        ("<other/>", "root is <other>"),
        ("\x7fELF", "not a pack description"),
        ("<package/>", "describes no device"),
        (PDSC.replace('size="0x20000"', 'size="large"'), "'large' is not a number"),
        (PDSC.replace('start="0x20000000" size="0x20000"', 'start="0x20000000"'), "no start or no size"),
        (PDSC.replace('start="0x20000000"', 'start="-5"'), "'IRAM1' at -0x5 of 131072 B"),
        (PDSC.replace('size="0x20000"', 'size="0xF0000000"'), "no address space"),
        ("<package><devices>" + "<family>" * 3000 + "</family>" * 3000 + "</devices></package>", "describes no device"),
    ],
    ids=range(10),
)
def test_3_malformed_xml_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.pdsc"
    path.write_text(text)
    with pytest.raises(ToolkitError, match=message) as caught:
        read_pack_device(path, "STM32F407VG")
    assert "bad.pdsc" in caught.value.at


@pytest.fixture
def unknown(pdsc: Path) -> Path:
    pdsc.write_text(PDSC.replace("  </devices>", UNKNOWN_CORES))
    return pdsc


@pytest.mark.parametrize("name", ["M52", "M55"])
def test_4_a_device_that_is_dropped_is_read_from_the_xml(unknown: Path, name: str) -> None:
    device = read_pack_device(unknown, name)
    assert device.core == f"Cortex-{name}"
    assert len(device.memories) == 2
    assert [r for r in device.remarks if "cmsis-pack-manager dropped every device" in r]


def test_4_one_device_missing_from_its_index(pdsc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmoe_embed.packs, "_load_index", lambda path: ({"OTHER": {}}, ""))
    device = read_pack_device(pdsc, "M55")
    assert "cmsis-pack-manager dropped M55, with core 'Cortex-M55': the XML was read instead" in device.remarks


def test_4_a_memory_that_it_lost_is_named(pdsc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = {"memories": {"mram": {"start": 0x80000000, "size": 0x580000}}}
    monkeypatch.setattr(mmoe_embed.packs, "_load_index", lambda path: ({"M55": entry}, ""))
    device = read_pack_device(pdsc, "M55")
    assert "cmsis-pack-manager has no memory at 0x02000000 of 4194304 B, the XML has" in device.remarks


def test_5_a_second_pack_is_seen(tmp_path: Path, pdsc: Path) -> None:
    read_pack_device(pdsc, "M55")
    other = tmp_path / "other.pdsc"
    other.write_text(PDSC.replace('"M55"', '"LATER"'))
    device = read_pack_device(other, "LATER")
    assert not [r for r in device.remarks if "cmsis-pack-manager" in r]


def test_6_its_exception_is_one_line(pdsc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import cmsis_pack_manager

    def fail(self: Any, path: str) -> None:
        raise Exception(b"stack backtrace:\n   0: rust\n   1: cpython\nNo such file or directory (os error 2)\n")

    monkeypatch.setattr(cmsis_pack_manager.Cache, "add_pack_from_path", fail)
    device = read_pack_device(pdsc, "M55")
    assert device.remarks == ("cmsis-pack-manager: failed: No such file or directory (os error 2)",)
    assert len(device.memories) == 2
    with pytest.raises(UsageError, match="no such pack"):
        read_pack_device(pdsc.parent / "none.pdsc", "M55")


def test_7_flash_algorithms_come_without_its_method(pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import cmsis_pack_manager

    monkeypatch.delattr(cmsis_pack_manager.Cache, "get_flash_algorithm_binary")
    (flash,) = read_pack_device(pack, "STM32F407VGTx").flashes
    assert (flash.page_bytes, flash.erase_bytes, flash.sectors) == (0x400, 0x20000, F4_SECTORS)


def test_8_the_begin_of_a_name_is_enough_and_candidates_are_listed(pdsc: Path) -> None:
    device = read_pack_device(pdsc, "stm32f407vg")
    assert device.name == "STM32F407VGTx"
    assert "stm32f407vg was taken as STM32F407VGTx" in device.remarks
    with pytest.raises(UsageError, match="can be 2 devices") as two:
        read_pack_device(pdsc, "STM32F407ZG")
    assert "STM32F407ZGHx, STM32F407ZGTx" in two.value.try_
    with pytest.raises(UsageError, match="no device 'STM32H743'") as none:
        read_pack_device(pdsc, "STM32H743")
    assert "M55" in none.value.try_


def test_9_what_it_loses_is_there(pack: Path) -> None:
    device = read_pack_device(pack, "M55")
    assert (device.fpu, device.dsp, device.mve, device.clock_hz) == ("DP_FPU", "DSP", "FP_MVE", 400_000_000)
    device = read_pack_device(pack, "STM32F407VG")
    assert device.clock_hz == 168_000_000, "from the subfamily's processor, the rest from the family's"
    assert device.core == "Cortex-M4"


def test_10_nothing_touches_the_network(pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import cmsis_pack_manager

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket, "socket", refuse)
    for name in ("cache_descriptors", "cache_everything", "download_pack_list"):
        monkeypatch.setattr(cmsis_pack_manager.Cache, name, refuse)
    assert read_pack_device(pack, "STM32F407VG").flashes


# --- packs that are not ---


def test_read_pack_device_of_a_broken_archive(tmp_path: Path, pack: Path) -> None:
    bad = tmp_path / "bad.pack"
    bad.write_bytes(pack.read_bytes()[: pack.stat().st_size // 2])
    with pytest.raises(ToolkitError, match="not a pack"):
        read_pack_device(bad, "M55")
    empty = tmp_path / "empty.pack"
    with zipfile.ZipFile(empty, "w") as archive:
        archive.writestr("readme.txt", "")
    with pytest.raises(ToolkitError, match=r"0 \.pdsc files"):
        read_pack_device(empty, "M55")


def test_read_pack_device_of_a_flipped_archive(tmp_path: Path, pack: Path) -> None:
    data = bytearray(pack.read_bytes())
    data[data.index(b"<vendor>") + 3] ^= 1  # stored, so only the checksum can tell
    bad = tmp_path / "flipped.pack"
    bad.write_bytes(data)
    with pytest.raises(ToolkitError, match="damaged"):
        read_pack_device(bad, "M55")


def test_read_pack_device_never_leaves_the_pack(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "slip.pack", "w") as archive:
        archive.writestr("../../slip.pdsc", PDSC)
    assert read_pack_device(tmp_path / "slip.pack", "M55").core == "Cortex-M55"
    assert not (tmp_path.parent / "slip.pdsc").exists()
    (tmp_path / "inner").mkdir()
    (tmp_path / "secret.FLM").write_bytes(build_flm(flash_device()))
    path = tmp_path / "inner" / "x.pdsc"
    path.write_text(PDSC.replace("Flash\\F4.FLM", "..\\secret.FLM"))
    assert read_pack_device(path, "STM32F407VG").flashes == ()


def test_read_pack_device_takes_the_processor_asked_for(pdsc: Path) -> None:
    big, small = read_pack_device(pdsc, "DUAL"), read_pack_device(pdsc, "DUAL", "small")
    assert (big.core, big.memories[0].name) == ("Cortex-M33", "flash")
    assert [r for r in big.remarks if "big, small" in r]
    assert (small.core, [m.name for m in small.memories]) == ("Cortex-M0+", ["net", "ram"])
    with pytest.raises(UsageError, match="no processor 'none'"):
        read_pack_device(pdsc, "DUAL", "none")


# --- flash algorithms ---


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a flash algorithm"),
        (b"\x7fELF" + bytes(20), "not a flash algorithm"),
        (build_flm(flash_device(), ".other"), "without a FlashDevice"),
        (build_flm(flash_device()[:100]), "too short"),
        (build_flm(flash_device(sectors=())), "makes no sense"),
        (build_flm(flash_device(size=0)), "makes no sense"),
        (build_flm(flash_device(sectors=((0, 0),))), "makes no sense"),
    ],
)
def test_read_flm_of_a_wrong_file(data: bytes, message: str) -> None:
    with pytest.raises(ToolkitError, match=message):
        read_flm(data, "x.FLM")


def test_read_flm_whose_sectors_have_addresses() -> None:
    description = struct.pack("<H128sHIIIIB3xII", 0x101, b"Test", 1, 0x01000000, 0x40000, 2048, 0, 0xFF, 100, 6000)
    description += struct.pack("<IIII", 2048, 0x01000000, 0xFFFFFFFF, 0xFFFFFFFF)
    assert read_flm(build_flm(description), "x").sectors == ((2048, 0),)


def test_read_flm_of_every_truncation() -> None:
    whole = build_flm(flash_device())
    for length in range(0, len(whole), 7):
        try:
            read_flm(whole[:length], "x.FLM")
        except ToolkitError:
            continue


@pytest.mark.arm
def test_read_flm_that_a_compiler_made(tmp_path: Path) -> None:
    """A description inside a larger section, found by its symbol."""
    if shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("arm-none-eabi-gcc is not installed")
    words = ",".join(map(str, flash_device()))
    (tmp_path / "f.c").write_text(
        'const char before[64] __attribute__((section("DevDscr"))) = "x";\n'
        f'const unsigned char FlashDevice[] __attribute__((section("DevDscr"))) = {{{words}}};\n'
    )
    flm = tmp_path / "f.FLM"
    command = ["arm-none-eabi-gcc", "-mcpu=cortex-m0", "-nostdlib", "-Wl,-e,0", tmp_path / "f.c", "-o", flm]
    subprocess.run(command, check=True, capture_output=True)
    assert read_flm(flm.read_bytes(), "f.FLM").sectors == F4_SECTORS


def test_a_missing_or_broken_algorithm_is_a_remark(pdsc: Path, tmp_path: Path) -> None:
    assert [r for r in read_pack_device(pdsc, "STM32F407VG").remarks if "is not there" in r]
    (tmp_path / "Flash").mkdir()
    (tmp_path / "Flash" / "F4.FLM").write_bytes(b"no ELF")
    assert [r for r in read_pack_device(pdsc, "STM32F407VG").remarks if "not a flash algorithm" in r]


# --- drafts and comparisons ---

REST = """
[console]
driver = "stm32-usart"
base = 0x40004400
rx_irq = 38
pclk_hz = 16_000_000
source = "a person"

[clock]
systick_hz = 16_000_000
source = "a person"

[runner]
default = "openocd"

[runner.openocd]
config = ["board/stm32f4discovery.cfg"]
"""


def test_draft_board_needs_only_what_it_says(pack: Path) -> None:
    draft = draft_board(read_pack_device(pack, "STM32F407VG"), "test_f407", pack.name)
    with pytest.raises(ToolkitError, match="missing"):
        parse_board(draft.text, Path("test_f407.toml"))
    board = parse_board(draft.text + REST, Path("test_f407.toml"))
    assert (board.core.core, board.core.fpu, board.core.isa) == ("cortex-m4", "fpv4-sp-d16", ["dsp"])
    assert board.core.clock_hz == 168_000_000
    flash = board.memory_for("experts")
    assert flash.flash is not None
    assert (flash.name, flash.flash.page_bytes, flash.flash.erase_bytes) == ("irom1", 0x400, 0x20000)
    assert board.memory_for("arena").name == "iram1"
    assert check_board(board) == []
    for word in ("[console]", "[clock]", "[runner]", "`dma`", "bandwidths"):
        assert [gap for gap in draft.fill_in if word in gap], word


@pytest.mark.parametrize(
    ("device", "core", "expected"),
    [
        ("M55", None, ('core = "cortex-m55"', 'fpu = "fpv5-d16"', 'isa = ["dsp", "mve", "mve-fp", "lob"]')),
        ("M52", None, ('core = "cortex-m52"', 'isa = ["dsp", "mve", "lob"]')),
        ("DUAL", "small", ('core = "cortex-m0plus"', 'fpu = "none"', "isa = []")),
        ("DUAL", "big", ('core = "cortex-m33"', 'fpu = "fpv5-sp-d16"', 'isa = ["dsp"]')),
        ("ODD", None, ("# core = ? not in the pack", "# fpu = ?", "# clock_hz = ?", "the pack says 'ARMV81MML'")),
    ],
)
def test_draft_board_cores(unknown: Path, device: str, core: str | None, expected: tuple[str, ...]) -> None:
    text = draft_board(read_pack_device(unknown, device, core), "b", "x.pdsc").text
    for line in expected:
        assert line in text


def test_compare_board_agrees_with_the_f407(pack: Path) -> None:
    assert compare_board(load_board("st_stm32f4discovery"), read_pack_device(pack, "STM32F407VG")) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("cortex-m4", "cortex-m7", "core: the board file says cortex-m7, the pack cortex-m4"),
        ('fpu = "fpv4-sp-d16"', 'fpu = "none"', "fpu: the board file says none, the pack fpv4-sp-d16"),
        ('isa = ["dsp"]', "isa = []", "isa: the board file says"),
        ("168_000_000", "100_000_000", "clock_hz: the board file says 100000000, the pack 168000000"),
        ("size = 0x0002_0000", "size = 0x0003_0000", "a part of sram"),
        ("size = 0x0002_0000", "size = 0x0001_C000", "memory at 0x20000000 of 131072 B"),
        ("base = 0x1000_0000", "base = 0x1800_0000", "memories that the pack has and the board file does not: "),
        ("base = 0x1000_0000", "base = 0x1800_0000", "memory ccm at 0x18000000 of 65536 B: the pack has none there"),
        ("erase_bytes = 131_072", "erase_bytes = 16_384", "erase_bytes: the board file says 16384, the pack 131072"),
        ("erase_bytes = 131_072", "write_bytes = 4", "erase_bytes is not in the board file, the pack says 131072"),
        ("erase_bytes = 131_072", "page_bytes = 256", "page_bytes: the board file says 256, the pack 1024"),
    ],
)
def test_compare_board_names_each_disagreement(pack: Path, old: str, new: str, message: str) -> None:
    text = (boards_dir() / "st_stm32f4discovery.toml").read_text()
    assert old in text
    board = parse_board(text.replace(old, new), Path("st_stm32f4discovery.toml"))
    lines = compare_board(board, read_pack_device(pack, "STM32F407VG"))
    assert [line for line in lines if message in line], lines


# a chip with TrustZone, as packs write one: each memory twice, `alias` now and then wrong, no start-up flash
TRUSTZONE = """<?xml version="1.0" encoding="UTF-8"?>
<package schemaVersion="1.7.0">
  <vendor>Someone</vendor><name>TZ_DFP</name>
  <releases><release version="1.0.0">x</release></releases>
  <devices><family Dfamily="TZ" Dvendor="STMicroelectronics:13">
    <processor Dcore="Cortex-M33" Dfpu="SP_FPU" Ddsp="DSP" Dtz="TZ" Dclock="100000000" Dendian="Configurable"/>
    <device Dname="TZ1">
      <memory name="CODE_NS" access="rwx" start="0x24100000" size="0x40000" alias="CODE_S"/>
      <memory name="CODE_S" access="rwx" start="0x34100000" size="0x40000" default="1" startup="1"/>
      <memory name="DTCM_NS" access="rwx" start="0x20000000" size="0x8000" default="1"/>
      <memory name="DTCM_S" access="rwx" start="0x30000000" size="0x8000" alias="CODE_NS"/>
      <memory name="BIG_NS" access="rwx" start="0x24200000" size="0x80000" default="0"/>
      <memory name="BIG_S" access="rwx" start="0x34200000" size="0x80000" alias="BIG_NS"/>
      <memory name="RAM" access="rwx" start="0x28000000" size="0x10000" default="1"/>
      <algorithm name="Flash/EXT.FLM" start="0x70000000" size="0x1000000" default="0"/>
    </device>
  </family></devices>
</package>
"""


def test_two_views_of_a_memory_are_one(tmp_path: Path) -> None:
    pdsc = tmp_path / "Someone.TZ_DFP.pdsc"
    pdsc.write_text(TRUSTZONE)
    device = read_pack_device(pdsc, "TZ1")
    starts = {memory.name: memory.starts for memory in device.memories}
    assert starts == {
        "DTCM_NS": (0x20000000, 0x30000000), "RAM": (0x28000000,), "CODE_S": (0x34100000, 0x24100000),
        "BIG_S": (0x34200000, 0x24200000),
    }  # fmt: skip
    assert device.vendor == "STMicroelectronics"
    assert [remark for remark in device.remarks if "1 flash algorithms are not default" in remark]
    draft = draft_board(device, "tz", "x.pdsc")
    board = parse_board(draft.text + REST, Path("tz.toml"))
    assert [(m.name, m.kind, m.alias) for m in board.memory if m.name == "dtcm_ns"] == [
        ("dtcm_ns", "tcm", [0x30000000])
    ]
    assert board.memory_for("text").name == "code_s", "the core starts in RAM"
    assert board.memory_for("arena").name == "ram", "the largest one is not default"
    assert [gap for gap in draft.fill_in if "perhaps off after reset: big_s" in gap]
    moved = draft.text.replace("base = 0x34100000", "base = 0x24100000").replace("[0x24100000]", "[0x34100000]")
    assert compare_board(parse_board(moved + REST, Path("tz.toml")), device) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("pclk_hz = 16_000_000", "pclk_hz = 500_000", "115200 baud need a clock"),
        ("erase_bytes = 131_072", "erase_bytes = 131_073", "no multiple of erase_bytes"),
        ('"kv", ', "", "no memory has the use 'kv'"),
        ("base = 0x0800_0000", "base = 0x0800_0040", "a vector table of 220 B needs a multiple of 256"),
    ],
)
def test_check_board_finds(old: str, new: str, message: str) -> None:
    text = (boards_dir() / "st_stm32f4discovery.toml").read_text()
    assert old in text
    board = parse_board(text.replace(old, new), Path("st_stm32f4discovery.toml"))
    assert [line for line in check_board(board) if message in line]


@pytest.mark.parametrize("path", sorted(boards_dir().glob("*.toml")), ids=lambda p: p.stem)
def test_check_board_passes_our_own(path: Path) -> None:
    assert check_board(load_board(path)) == []


# --- the commands ---


def run(command: Any, *arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(command, list(arguments), standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return int(result.return_value), result.output


def test_import_command_writes_a_draft_once(pack: Path, tmp_path: Path) -> None:
    output = tmp_path / "my_f407.toml"
    code, text = run(import_command, "--pack", str(pack), "--device", "STM32F407VG", "-o", str(output))
    assert code == 0
    assert "fill in: [console]" in text
    assert 'name = "my_f407"' in output.read_text()
    with pytest.raises(UsageError, match="exists already"):
        run(import_command, "--pack", str(pack), "--device", "STM32F407VG", "-o", str(output))


def test_import_command_json(pack: Path) -> None:
    _, text = run(import_command, "--pack", str(pack), "--device", "M55", "--json")
    data = json.loads(text)["data"]
    assert data["board"] == "m55"
    assert data["fill_in"]


def test_check_command_says_what_differs(pack: Path, pdsc: Path) -> None:
    code, text = run(check_command, "st_stm32f4discovery", "--pack", str(pack))
    assert (code, "no disagreements" in text) == (0, True), "soc.name is the begin of the device's name"
    code, text = run(check_command, "st_nucleo_f446re", "--pack", str(pdsc), "--device", "STM32F407VG")
    assert code == 1
    assert "clock_hz: the board file says 180000000, the pack 168000000" in text
    code, _ = run(check_command, "st_nucleo_f446re")
    assert code == 0
    with pytest.raises(UsageError, match="--device and --core"):
        run(check_command, "st_nucleo_f446re", "--device", "x")


def test_no_module_of_ours_uses_the_network_of_packs() -> None:
    source = Path(mmoe_embed.packs.__file__).read_text()
    assert "cache_descriptors(" not in source
    assert "download" not in source.replace('"download it again"', "")
