"""Board files: every one loads, every wrong one is named with file, line and what was expected."""

import re
from pathlib import Path

import pytest

from mmoe_embed.board import list_boards, load_board, parse_board
from mmoe_embed.errors import ToolkitError, UsageError
from mmoe_embed.resources import boards_dir

USES = ("text", "rodata", "experts", "data", "stack", "arena", "kv", "slots")
GOOD = (boards_dir() / "qemu_netduinoplus2.toml").read_text()
SOURCES = GOOD[GOOD.index("sources") : GOOD.index("notes")].strip()


@pytest.mark.parametrize("name", list_boards())
def test_load_board_every_board_is_complete(name: str) -> None:
    board = load_board(name)
    assert board.name == name
    for use in USES:
        assert board.memory_for(use).usable_bytes > 0
    assert all(memory.source for memory in board.memory)
    assert load_board(boards_dir() / f"{name}.toml") == board


def test_list_boards_has_those_of_the_design() -> None:
    assert {
        "host_x86_64", "linux_aarch64", "qemu_mps3_an547", "qemu_mps2_an386", "qemu_mps2_an500", "qemu_mps2_an505",
        "qemu_netduinoplus2", "qemu_mps2_an385", "qemu_microbit",
    } <= set(list_boards())  # fmt: skip


def test_readme_names_every_key() -> None:
    text = (boards_dir() / "README.md").read_text()
    keys = set()
    for name in list_boards():
        keys |= set(re.findall(r"^(\w+) *=", (boards_dir() / f"{name}.toml").read_text(), re.MULTILINE))
    missing = [key for key in keys if f"`{key}`" not in text and key not in ("source", "title", "vendor")]
    assert missing == []


def test_load_board_unknown_name_lists_near_ones() -> None:
    with pytest.raises(UsageError, match="unknown board 'qemu_an547'") as caught:
        load_board("qemu_an547")
    assert "did you mean qemu_mps3_an547" in caught.value.try_
    assert caught.value.exit_code == 2


def test_load_board_missing_file() -> None:
    with pytest.raises(UsageError, match="no such board file"):
        load_board("nowhere/board.toml")


def test_memory_for_without_such_a_use() -> None:
    board = parse_board(GOOD.replace('"kv", ', ""), Path("qemu_netduinoplus2.toml"))
    with pytest.raises(ToolkitError, match="no memory for 'kv'") as caught:
        board.memory_for("kv")
    assert "flash, sram" in caught.value.try_


# one wrong change a rule: what is replaced, by what, the line it is reported at (by a text on it), and the words
WRONG = {
    "not_toml": ('kind = "emulated"', 'kind = "emulated', 'kind = "emulated', "not TOML"),
    "unknown_key": ("clock_hz = 168_000_000\nfpu", "clok_hz = 1\nfpu", "clok_hz", "'clok_hz'.*mean 'clock_hz'"),
    "unknown_key_in_second_memory": (
        "dma = true\nretained = true", "dmaa = true\nretained = true", "dmaa", "'dmaa'.*'dma'"),
    "unknown_table": ("[clock]", "[clocks]", "[clocks]", "'clocks'"),
    "missing_key": ("rx_irq = 37\n", "", "[console]", "needs rx_irq"),
    "missing_required_key": ("systick_hz = 168_000_000\n", "", "[clock]", "'systick_hz' is missing"),
    "missing_key_in_second_memory": ("base = 0x2000_0000\n", "", 'name = "sram"', "'base' is missing"),
    "wrong_type": ("size = 0x0003_0000", 'size = "192K"', "192K", "expected `int`"),
    "wrong_choice": ('kind = "sram"', 'kind = "srram"', "srram", "invalid enum.*one of: tcm, sram"),
    "wrong_choice_in_list": ('isa = ["dsp"]', 'isa = ["dsp", "sve"]', "sve", "invalid enum.*one of: dsp, mve"),
    "wrong_schema": ("schema = 1", "schema = 2", "schema = 2", "one of: 1"),
    "wrong_name": ('name = "qemu_netduinoplus2"', 'name = "netduino"', 'name = "netduino"', "the file is qemu_net"),
    "budget_too_large": ("size = 0x0003_0000", "size = 0x0003_0000\nbudget = 196609", "budget", "take 1 B off"),
    "overlap": ("base = 0x2000_0000", "base = 0x080F_FFFF", "0x080F_FFFF", "overlap by 1 B"),
    "same_name": ('name = "sram"', 'name = "flash"', 'name = "flash"\nkind = "sram"', "two memories"),
    "empty_memory": ("size = 0x0003_0000\n", "size = 0\n", "size = 0\n", "size 0"),
    "data_in_rom": ('access = "rwx"', 'access = "rx"', 'use = ["data"', "whose access is 'rx'"),
    "runner_without_table": ('default = "qemu"', 'default = "pyocd"', 'default = "pyocd"', "no table"),
    "no_sources": (SOURCES, "sources = []", "sources", "needs its sources"),
}  # fmt: skip


@pytest.mark.parametrize("rule", WRONG)
def test_parse_board_wrong_file_is_named_with_its_line(rule: str) -> None:
    old, new, at, words = WRONG[rule]
    assert old in GOOD
    text = GOOD.replace(old, new)
    with pytest.raises(ToolkitError) as caught:
        parse_board(text, Path("boards/qemu_netduinoplus2.toml"))
    assert re.search(words, str(caught.value), re.DOTALL), str(caught.value)
    line = text[: text.index(at)].count("\n") + 1
    if rule == "missing_key_in_second_memory":
        line -= 1  # the table's header
    assert f"qemu_netduinoplus2.toml:{line}" in caught.value.at, (line, str(caught.value))
    assert caught.value.try_


@pytest.mark.parametrize("content", [b"name = '\xff'", b"a = " + b"[" * 100_000], ids=["not UTF-8", "deep"])
def test_load_board_of_no_toml(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.toml").write_bytes(content)
    with pytest.raises(ToolkitError) as caught:
        load_board(tmp_path / "bad.toml")
    assert "bad.toml" in caught.value.at


def test_flash_behind_a_driver_has_addresses_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "qemu_netduinoplus2.toml"
    nor = '[[memory]]\nname = "nor"\nkind = "nor"\nbase = 0x0800_0000\nsize = 0x1_0000\naccess = "r"\nuse = []\nsource = "a chip"\n'
    file.write_text((boards_dir() / file.name).read_text() + "\n" + nor)
    assert load_board(str(file)).memory[-1].name == "nor"
    file.write_text(file.read_text().replace('kind = "nor"', 'kind = "xip_flash"\nxip = true'))
    with pytest.raises(ToolkitError, match="overlap by 65536 B"):
        load_board(str(file))
