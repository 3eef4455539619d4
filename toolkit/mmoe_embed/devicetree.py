"""A board as Zephyr knows it: from the devicetree and the configuration of a build (zephyr.dts, .config)."""

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from devicetree import dtlib  # type: ignore[import-untyped]

from mmoe_embed.board import Board, Memory, parse_board
from mmoe_embed.errors import ToolkitError

_RAM_USES = ("data", "stack", "arena", "kv", "slots")
_CHOSEN_RAM = {"mmoe,arena": "arena", "mmoe,kv": "kv", "mmoe,slots": "slots"}
_CORE = re.compile(r"arm,(cortex-m\d+)(\+|plus|f)?$")
_SIM_FLASH = "zephyr,sim-flash"
# SysTick's clock in QEMU 7.2 (`info qtree`, cpuclk), where Zephyr's defaults have another: 12, 25 and 25 MHz
_QEMU_CLOCK_HZ = {"lm3s6965evb": 12_500_000, "mps2-an521": 20_000_000, "mps3-an547": 32_000_000}
# Drivers whose sectors the configuration knows, not devicetree: what they erase at once, smallest write in bytes
_SECTOR_SETTINGS = {
    "jedec,spi-nor": ("SPI_NOR_FLASH_LAYOUT_PAGE_SIZE", 1),
    "nordic,qspi-nor": ("NORDIC_QSPI_NOR_FLASH_LAYOUT_PAGE_SIZE", 4),
}


@dataclasses.dataclass(frozen=True)
class DeviceMemory:
    """One memory of a devicetree, as a board file would say it."""

    name: str
    kind: str
    base: int
    size: int
    access: str
    use: tuple[str, ...]
    source: str
    xip: bool = False
    is_partition: bool = False  # a part of a memory, by choice
    write_bytes: int | None = None
    erase_bytes: int | None = None


def read_devicetree(file: Path) -> dtlib.DT:
    """Parse a finished devicetree (build/zephyr/zephyr.dts).

    Raises:
        ToolkitError: it is not there or not devicetree source.
    """
    if not file.is_file():
        raise ToolkitError("there is no such devicetree", at=str(file), try_="west build --cmake-only -b BOARD APP")
    try:
        return dtlib.DT(str(file))
    except dtlib.DTError as error:
        raise ToolkitError(f"not a devicetree: {error}", at=str(file), try_="give build/zephyr/zephyr.dts") from None


def read_settings(config: str) -> dict[str, str]:
    """The text of a .config as name -> value, without CONFIG_."""
    return dict(re.findall(r"^CONFIG_(\w+)=(.*)$", config, re.MULTILINE))


def find_memories(tree: dtlib.DT, settings: Mapping[str, str]) -> list[DeviceMemory]:
    """The memories that an image with a model uses, those of `chosen` (firmware/zephyr/README.md).

    Args:
        tree: the build's devicetree.
        settings: the build's configuration; what a bootloader or other images have of the flash is there.

    Raises:
        ToolkitError: no zephyr,sram or no zephyr,flash is chosen, or a chosen node has no address.
    """
    chosen = _chosen(tree)
    ram = _require(chosen, "zephyr,sram")
    program = _require(chosen, "zephyr,flash")
    experts = chosen.get("mmoe,experts")
    elsewhere: dict[dtlib.Node, list[str]] = {}
    for key, use in _CHOSEN_RAM.items():
        # what is not chosen follows the arena
        node = chosen.get(key) or chosen.get("mmoe,arena")
        if node is not None and node is not ram:
            elsewhere.setdefault(node, []).append(use)
    moved = {use for uses in elsewhere.values() for use in uses}

    uses = ("text", "rodata") if experts else ("text", "rodata", "experts")
    whole = base, size = _region(program)
    offset, limit = (int(settings.get(f"FLASH_LOAD_{what}", "0"), 0) for what in ("OFFSET", "SIZE"))
    base, size = base + offset, limit or size - offset
    if experts is not None and _is_mapped(experts):
        start, _ = _partition(experts)
        if base <= start < base + size:
            size = start - base  # the image ends where the experts begin
    source, is_part = f"{program.path}, zephyr,flash", (base, size) != whole
    memories = [DeviceMemory(_name(program), "flash", base, size, "rx", uses, source, xip=True, is_partition=is_part)]
    if experts is not None:
        memories.append(_expert_memory(experts))
    base, size = _region(ram)
    kept = tuple(use for use in _RAM_USES if use not in moved)
    memories.append(DeviceMemory(_name(ram), "sram", base, size, "rwx", kept, f"{ram.path}, zephyr,sram"))
    for node, chosen_uses in elsewhere.items():
        base, size = _region(node)
        source = f"{node.path}, " + ", ".join(f"mmoe,{use}" for use in chosen_uses)
        memories.append(DeviceMemory(_name(node), "sram", base, size, "rwx", tuple(chosen_uses), source))
    return memories


def describe_board(tree: dtlib.DT, settings: Mapping[str, str], name: str, qemu_machine: str | None = None) -> str:
    """The text of a board file for a Zephyr board.

    Args:
        tree: the build's devicetree.
        settings: the build's configuration.
        name: of the board file, without .toml.
        qemu_machine: where Zephyr runs the board in QEMU.
    """
    zephyr_board = settings.get("BOARD_TARGET", "").strip('"')
    clock = _QEMU_CLOCK_HZ.get(qemu_machine or "") or int(settings.get("SYS_CLOCK_HW_CYCLES_PER_SEC", "0"))
    core = _core(tree)
    lines = [
        "# Made from a Zephyr build's devicetree and configuration. Do not edit.",
        "schema = 1",
        f"name = {json.dumps(name)}",
        f"title = {json.dumps(f'{zephyr_board} as Zephyr describes it')}",
        'vendor = "zephyr"',
        f"kind = {json.dumps('emulated' if qemu_machine else 'hardware')}",
        'sources = ["zephyr.dts and .config of the build"]',
        f"zephyr_board = {json.dumps(zephyr_board)}",
        "",
        "[soc]",
        f"name = {json.dumps(settings.get('SOC', '').strip(chr(34)))}",
        f"clock_hz = {clock}",
        "",
        "[[cpu]]",
        'name = "cpu0"',
        f"core = {json.dumps(core)}",
        f"fpu = {json.dumps(_fpu(core, settings))}",
        f"isa = {json.dumps(_isa(core, settings))}",
    ]
    memories = [_find_sectors(memory, tree, settings) for memory in find_memories(tree, settings)]
    for memory in memories:
        lines += ["", *_render_memory(memory)]
    for memory in memories:
        lines += _render_storage(memory) if memory.kind == "nor" else []
    lines += [
        "",
        "[console]",
        'driver = "zephyr"',
        'source = "chosen { mmoe,console } or { zephyr,console }"',
        "",
        "[clock]",
        f"systick_hz = {clock}",
        f"source = {json.dumps('QEMU' if qemu_machine in _QEMU_CLOCK_HZ else 'CONFIG_SYS_CLOCK_HW_CYCLES_PER_SEC')}",
        "",
        "[runner]",
        f"default = {json.dumps('qemu' if qemu_machine else 'west')}",
        "",
    ]
    if qemu_machine:
        lines += [
            "[runner.qemu]",
            f"machine = {json.dumps(qemu_machine)}",
            'args = ["-icount", "shift=0"]',
            "instructions_per_second = 1_000_000_000",
        ]
    else:
        lines += ["[runner.west]"]
    text = "\n".join(lines) + "\n"
    parse_board(text, Path(f"{name}.toml"))
    return text


def compare_memories(tree: dtlib.DT, settings: Mapping[str, str], board: Board) -> list[str]:
    """Where devicetree and a board file of ours disagree; each line names both."""
    lines = []
    for theirs in find_memories(tree, settings):
        if theirs.kind == "nor":
            continue
        ours = _memory_at(board.memory, theirs.base)
        if ours is None:
            lines.append(
                f"devicetree has {theirs.name} at 0x{theirs.base:08x} of {theirs.size} B ({theirs.source}): "
                f"{board.name}.toml has no memory there"
            )
            continue
        memory, offset = ours
        room = memory.usable_bytes - offset
        if theirs.size > room:
            lines.append(
                f"devicetree: {theirs.name} at 0x{theirs.base:08x} has {theirs.size} B ({theirs.source}); "
                f"{board.name}.toml: {memory.name} has {room} B there ({theirs.size - room} B fewer)"
            )
        elif theirs.size < room and not theirs.is_partition:
            lines.append(
                f"devicetree: {theirs.name} at 0x{theirs.base:08x} has {theirs.size} B ({theirs.source}); "
                f"{board.name}.toml: {memory.name} has {room} B there ({room - theirs.size} B more)"
            )
    core = _core(tree)
    if core != board.core.core:
        lines.append(f"devicetree: the core is {core}; {board.name}.toml: {board.core.core}")
    return lines


# --- nodes ------------------------------------------------------------------------------------------------------------


def _chosen(tree: dtlib.DT) -> dict[str, dtlib.Node]:
    if "chosen" not in tree.root.nodes:
        return {}
    nodes = {}
    for name, prop in tree.root.nodes["chosen"].props.items():
        if prop.type in (dtlib.Type.PATH, dtlib.Type.PHANDLE, dtlib.Type.STRING):
            nodes[name] = tree.get_node(prop.to_string()) if prop.type is dtlib.Type.STRING else _target(prop)
    return nodes


def _target(prop: dtlib.Property) -> dtlib.Node:
    return prop.to_path() if prop.type is dtlib.Type.PATH else prop.to_node()


def _require(chosen: dict[str, dtlib.Node], name: str) -> dtlib.Node:
    if name not in chosen:
        raise ToolkitError(f"the devicetree chooses no {name}", at="/chosen", try_="choose one in a board overlay")
    return chosen[name]


def _cells(node: dtlib.Node | None, name: str, default: int) -> int:
    return node.props[name].to_num() if node is not None and name in node.props else default


def _number(words: Sequence[int]) -> int:
    value = 0
    for word in words:
        value = value << 32 | word
    return value


def _reg(node: dtlib.Node) -> tuple[int, int]:
    """(address, size) in the parent's address space."""
    if "reg" not in node.props:
        raise ToolkitError(f"{node.path} has no reg: it is no memory", at=node.path)
    words = node.props["reg"].to_nums()
    cells = _cells(node.parent, "#address-cells", 2)
    return _number(words[:cells]), _number(words[cells : cells + _cells(node.parent, "#size-cells", 1)])


def _region(node: dtlib.Node) -> tuple[int, int]:
    """(address, size) as the processor sees it: through the `ranges` of the buses above, up to one that has none."""
    address, size = _reg(node)
    bus = node.parent
    while bus is not None and "ranges" in bus.props:
        if bus.props["ranges"].value:
            address = _translate(bus, address)
        bus = bus.parent
    return address, size


def _translate(bus: dtlib.Node, address: int) -> int:
    child, parent = _cells(bus, "#address-cells", 2), _cells(bus.parent, "#address-cells", 2)
    length = _cells(bus, "#size-cells", 1)
    words = bus.props["ranges"].to_nums()
    step = child + parent + length
    for at in range(0, len(words), step):
        start = _number(words[at : at + child])
        size = _number(words[at + child + parent : at + step])
        if start <= address < start + size:
            return _number(words[at + child : at + child + parent]) + address - start
    return address


def _flash_of(partition: dtlib.Node) -> dtlib.Node | None:
    """The flash memory of a partition: the node above `partitions`."""
    table = partition.parent
    return table.parent if table is not None else None


def _partition(partition: dtlib.Node) -> tuple[int, int]:
    flash = _flash_of(partition)
    if flash is None:
        raise ToolkitError(f"{partition.path} is not a partition of a flash", at=partition.path)
    offset, size = _reg(partition)
    start = _region(flash)[0] if _is_mapped(partition) else 0
    return start + offset, size


def _compatible(node: dtlib.Node | None) -> list[str]:
    return node.props["compatible"].to_strings() if node is not None and "compatible" in node.props else []


def _is_mapped(partition: dtlib.Node) -> bool:
    """As CONFIG_MMOE_EXPERTS_MAPPED decides: in the address space, and not the simulator."""
    flash = _flash_of(partition)
    if flash is None or "soc-nv-flash" not in _compatible(flash):
        return False
    return _SIM_FLASH not in _compatible(flash.parent)


def _expert_memory(partition: dtlib.Node) -> DeviceMemory:
    flash = _flash_of(partition)
    base, size = _partition(partition)
    mapped = _is_mapped(partition)

    def bytes_of(name: str) -> int | None:
        return flash.props[name].to_num() if flash is not None and name in flash.props else None

    return DeviceMemory(
        "experts",
        "xip_flash" if mapped else "nor",
        base,
        size,
        "rx" if mapped else "r",
        ("experts",),
        f"{partition.path}, mmoe,experts",
        xip=mapped,
        is_partition=True,
        write_bytes=bytes_of("write-block-size"),
        erase_bytes=bytes_of("erase-block-size"),
    )


def _name(node: dtlib.Node) -> str:
    return str(node.labels[0]) if node.labels else re.sub(r"\W+", "_", node.name)


def _core(tree: dtlib.DT) -> str:
    for node in tree.root.nodes["cpus"].nodes.values() if "cpus" in tree.root.nodes else ():
        for name in _compatible(node):
            if found := _CORE.match(name):
                return found[1] + ("plus" if found[2] in ("+", "plus") else "")
            if name == "zephyr,native-sim-cpu":
                return "x86-64"
    raise ToolkitError("the devicetree names no Cortex-M core and is not native_sim", at="/cpus")


def _fpu(core: str, settings: Mapping[str, str]) -> str:
    if core == "x86-64":
        return "native"
    if settings.get("FPU") != "y":
        return "none"
    if core == "cortex-m4":
        return "fpv4-sp-d16"
    return "fpv5-d16" if settings.get("CPU_HAS_FPU_DOUBLE_PRECISION") == "y" else "fpv5-sp-d16"


def _isa(core: str, settings: Mapping[str, str]) -> list[str]:
    isa = []
    if core in ("cortex-m4", "cortex-m7") or settings.get("ARMV8_M_DSP") == "y":
        isa.append("dsp")
    if settings.get("ARMV8_1_M_MVEI") == "y" and settings.get("FPU") == "y":
        isa += ["mve", *(["mve-fp"] if settings.get("ARMV8_1_M_MVEF") == "y" else []), "lob"]
    return isa


def _render_memory(memory: DeviceMemory) -> list[str]:
    lines = [
        "[[memory]]",
        f"name = {json.dumps(memory.name)}",
        f"kind = {json.dumps(memory.kind)}",
        f"base = 0x{memory.base:08x}",
        f"size = 0x{memory.size:08x}",
        f"access = {json.dumps(memory.access)}",
        f"xip = {json.dumps(memory.xip)}",
        f"use = {json.dumps(list(memory.use))}",
        f"source = {json.dumps(memory.source)}",
    ]
    if memory.write_bytes or memory.erase_bytes:
        lines += ["", "[memory.flash]"]
        lines += [f"write_bytes = {memory.write_bytes}"] if memory.write_bytes else []
        lines += [f"erase_bytes = {memory.erase_bytes}"] if memory.erase_bytes else []
    return lines


def _find_sectors(memory: DeviceMemory, tree: dtlib.DT, settings: Mapping[str, str]) -> DeviceMemory:
    """A flash with what the configuration says of its sectors, where devicetree does not."""
    if memory.kind != "nor" or memory.erase_bytes:
        return memory
    for name in _compatible(_flash_of(_chosen(tree)["mmoe,experts"])):
        setting, write_bytes = _SECTOR_SETTINGS.get(name, ("", 1))
        if setting in settings:
            return dataclasses.replace(memory, erase_bytes=int(settings[setting]), write_bytes=write_bytes)
    return memory


def _render_storage(memory: DeviceMemory) -> list[str]:
    """The driver of a flash, and its sectors where experts can be replaced in them."""
    lines = ["", "[[storage]]", 'driver = "zephyr"', f"source = {json.dumps(memory.source)}"]
    erase, write = memory.erase_bytes or 0, memory.write_bytes or 1
    if erase >= 16 and erase & (erase - 1) == 0 and 32 % write == 0:
        lines += [f"erase_bytes = {erase}", f"write_bytes = {write}"]
    return lines


def _memory_at(memories: list[Memory], address: int) -> tuple[Memory, int] | None:
    for memory in memories:
        for base in (memory.base, *memory.alias):
            if base <= address < base + memory.size:
                return memory, address - base
    return None
