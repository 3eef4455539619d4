"""A board out of a devicetree: memories, partitions, disagreements with the board file; no Zephyr tree is needed."""

from pathlib import Path

import pytest
import trees

from mmoe_embed.board import load_board, parse_board
from mmoe_embed.cli import main
from mmoe_embed.devicetree import compare_memories, describe_board, find_memories, read_devicetree, read_settings
from mmoe_embed.errors import ToolkitError

SETTINGS = read_settings("""
CONFIG_BOARD_TARGET="mps3/corstone300/an547"
CONFIG_SOC="an547"
CONFIG_SYS_CLOCK_HW_CYCLES_PER_SEC=25000000
CONFIG_FPU=y
CONFIG_CPU_HAS_FPU_DOUBLE_PRECISION=y
CONFIG_ARMV8_M_DSP=y
CONFIG_ARMV8_1_M_MVEI=y
CONFIG_ARMV8_1_M_MVEF=y
# CONFIG_USE_DT_CODE_PARTITION is not set
""")


def write(folder: Path, text: str) -> Path:
    file = folder / "zephyr.dts"
    file.write_text(text)
    return file


def memories_of(folder: Path, text: str, **settings: str) -> dict[str, tuple[str, int, int, tuple[str, ...]]]:
    memories = find_memories(read_devicetree(write(folder, text)), settings)
    return {m.name: (m.kind, m.base, m.size, m.use) for m in memories}


def test_find_memories_places_by_chosen(tmp_path: Path) -> None:
    assert memories_of(tmp_path, trees.AN547) == {
        "itcm": ("flash", 0x10000000, 0x80000, ("text", "rodata")),
        "experts": ("xip_flash", 0x38010000, 0x100000, ("experts",)),
        "dtcm": ("sram", 0x30000000, 0x80000, ("data", "stack", "arena")),
        "isram": ("sram", 0x31000000, 0x400000, ("kv", "slots")),
    }


def test_find_memories_lets_kv_and_slots_follow_the_arena(tmp_path: Path) -> None:
    text = trees.AN547.replace("mmoe,kv = &isram; mmoe,slots = &isram;", "mmoe,arena = &isram;")
    assert memories_of(tmp_path, text)["isram"][3] == ("arena", "kv", "slots")
    assert memories_of(tmp_path, text)["dtcm"][3] == ("data", "stack")


def test_find_memories_ends_the_program_where_the_experts_begin(tmp_path: Path) -> None:
    memories = memories_of(tmp_path, trees.ONE_FLASH)
    assert memories["flash0"] == ("flash", 0x8000000, 0x80000, ("text", "rodata"))
    assert memories["experts"] == ("xip_flash", 0x8080000, 0x80000, ("experts",))


def test_find_memories_translates_no_address_that_a_bus_keeps_to_itself(tmp_path: Path) -> None:
    text = trees.ONE_FLASH.replace("#size-cells = <1>; ranges; reg = <0x0 0x400>;", "#size-cells = <1>; reg = <0x0 0x400>;")
    assert text != trees.ONE_FLASH
    assert memories_of(tmp_path, text)["experts"][1] == 0x80000


def test_find_memories_leaves_room_for_a_bootloader(tmp_path: Path) -> None:
    text = trees.ONE_FLASH.replace("mmoe,experts = &experts;", "")
    memories = memories_of(tmp_path, text, FLASH_LOAD_OFFSET="0x4000", FLASH_LOAD_SIZE="0x60000")
    assert memories["flash0"] == ("flash", 0x8004000, 0x60000, ("text", "rodata", "experts"))
    assert memories_of(tmp_path, text, FLASH_LOAD_OFFSET="0x4000")["flash0"][1:3] == (0x8004000, 0xFC000)


@pytest.mark.parametrize("text", [trees.SPI_FLASH, trees.SIMULATOR], ids=["spi", "simulator"])
def test_find_memories_knows_flash_behind_a_driver(tmp_path: Path, text: str) -> None:
    assert memories_of(tmp_path, text)["experts"] == ("nor", 0x1000, 0x200000, ("experts",))


def test_describe_board_gives_a_valid_board_file(tmp_path: Path) -> None:
    tree = read_devicetree(write(tmp_path, trees.AN547))
    text = describe_board(tree, SETTINGS, "b", "mps3-an547")
    board = parse_board(text, Path("b.toml"))
    assert (board.core.core, board.core.fpu, board.core.isa) == (
        "cortex-m55",
        "fpv5-d16",
        ["dsp", "mve", "mve-fp", "lob"],
    )
    assert board.clock.systick_hz == 32_000_000  # of QEMU, not of Zephyr's configuration
    assert board.runner.qemu is not None
    assert board.runner.qemu.machine == "mps3-an547"
    assert board.memory_for("experts").flash is not None
    assert board.memory_for("experts").flash.erase_bytes == 4096


@pytest.mark.parametrize(
    ("text", "sectors"),
    [
        (trees.SPI_FLASH, (4096, 1)),
        (trees.SPI_FLASH.replace("jedec,spi-nor", "of-another-kind"), (None, 1)),
        (trees.SIMULATOR.replace("reg = <0x0 0x400000>;", "reg = <0x0 0x400000>; erase-block-size = <1024>;"), (1024, 1)),
    ],
)
def test_describe_board_knows_sectors_of_a_flash_behind_a_driver(
    tmp_path: Path, text: str, sectors: tuple[int | None, int]
) -> None:
    settings = SETTINGS | {"SPI_NOR_FLASH_LAYOUT_PAGE_SIZE": "4096"}
    board = parse_board(describe_board(read_devicetree(write(tmp_path, text)), settings, "b"), Path("b.toml"))
    (storage,) = board.storages
    assert (storage.driver, storage.erase_bytes, storage.write_bytes) == ("zephyr", *sectors)


def test_describe_board_says_no_helium_without_fpu(tmp_path: Path) -> None:
    tree = read_devicetree(write(tmp_path, trees.AN547))
    board = parse_board(describe_board(tree, SETTINGS | {"FPU": "n"}, "b"), Path("b.toml"))
    assert (board.core.fpu, board.core.isa) == ("none", ["dsp"])
    assert board.runner.default == "west"


def test_compare_memories_finds_nothing_where_both_agree(tmp_path: Path) -> None:
    tree = read_devicetree(write(tmp_path, trees.AN547))
    assert compare_memories(tree, SETTINGS, load_board("qemu_mps3_an547")) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("reg = <0x30000000 0x80000>", "reg = <0x30000000 0x40000>", "dtcm has 524288 B there (262144 B more)"),
        ("reg = <0x30000000 0x80000>", "reg = <0x30000000 0x100000>", "dtcm has 524288 B there (524288 B fewer)"),
        ("reg = <0x31000000 0x400000>", "reg = <0x51000000 0x400000>", "qemu_mps3_an547.toml has no memory there"),
        ("arm,cortex-m55", "arm,cortex-m33", "the core is cortex-m33; qemu_mps3_an547.toml: cortex-m55"),
    ],
)
def test_compare_memories_names_both_sides(tmp_path: Path, old: str, new: str, said: str) -> None:
    tree = read_devicetree(write(tmp_path, trees.AN547.replace(old, new)))
    (line,) = compare_memories(tree, SETTINGS, load_board("qemu_mps3_an547"))
    assert said in line


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("/dts-v1/;\n/ { x = <1> };\n", "not a devicetree"),
        (trees.AN547.replace("zephyr,sram = &dtcm;", ""), "chooses no zephyr,sram"),
        (
            trees.AN547.replace("zephyr,sram = &dtcm;", "zephyr,sram = &cpu;").replace("cpus {", "cpu: cpus {"),
            "has no reg",
        ),
        (trees.AN547.replace("arm,cortex-m55", "riscv"), "names no Cortex-M core"),
    ],
)
def test_devicetree_that_does_not_do_is_a_named_error(tmp_path: Path, text: str, said: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(ToolkitError, match=said):
        describe_board(read_devicetree(file), SETTINGS, "b")


def test_boards_devicetree_shows_disagreements(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dts = write(tmp_path, trees.AN547.replace("reg = <0x30000000 0x80000>", "reg = <0x30000000 0x40000>"))
    (tmp_path / ".config").write_text("".join(f"CONFIG_{name}={value}\n" for name, value in SETTINGS.items()))
    with pytest.raises(SystemExit) as exit_info:
        main(["boards", "devicetree", str(dts), "--config", str(tmp_path / ".config"), "--compare", "-o",
              str(tmp_path / "mine.toml")])  # fmt: skip
    assert exit_info.value.code == 0
    assert "devicetree against qemu_mps3_an547.toml: 1 disagreement\n" in capsys.readouterr().out
    assert load_board(str(tmp_path / "mine.toml")).memory_for("arena").size == 0x40000
