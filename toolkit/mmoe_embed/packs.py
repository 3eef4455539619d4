"""What a CMSIS-Pack knows of a device, read offline: by cmsis-pack-manager, and from the XML for what that drops."""

import contextlib
import dataclasses
import os
import tempfile
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmoe_embed.errors import ToolkitError, UsageError
from mmoe_embed.flm import FlashDevice, read_flm

_LEVELS = ("family", "subFamily", "device", "variant")
_ACCESS_OF_ID = {"IROM": "rx", "IRAM": "rwx"}  # memories of the old form say their kind by their id
_CANDIDATES = 12


_SECURE_BIT = 0x1000_0000  # in the address of the other security state's view of a memory


@dataclasses.dataclass(frozen=True)
class PackMemory:
    """A memory of a pack description.

    Attributes:
        access: of "r", "w", "x".
        default: whether the pack's own projects use it without being told.
        alias: other addresses of the same memory.
    """

    name: str
    start: int
    size: int
    access: str
    startup: bool = False
    default: bool = True
    alias: tuple[int, ...] = ()

    @property
    def starts(self) -> tuple[int, ...]:
        """Every address that it begins at."""
        return (self.start, *self.alias)


@dataclasses.dataclass(frozen=True)
class PackDevice:
    """A device of a pack.

    Attributes:
        core, fpu, dsp, mve, clock_hz: attributes of its processor in the description; None where it has none.
        flashes: what its flash algorithms say, where the files are there.
        remarks: what was odd on the way, for people.
    """

    name: str
    pack: str
    vendor: str
    core: str
    fpu: str | None
    dsp: str | None
    mve: str | None
    clock_hz: int | None
    memories: tuple[PackMemory, ...]
    flashes: tuple[FlashDevice, ...]
    remarks: tuple[str, ...]


def read_pack_device(path: Path, name: str, core: str | None = None) -> PackDevice:
    """Read one device of a pack.

    Args:
        path: a .pack, a .pdsc, or the folder of an unpacked pack.
        name: a device or a variant; the begin of exactly one is enough.
        core: Pname of the processor, where a device has several; None takes the first.

    Raises:
        UsageError: no such file, device or processor; the message lists what there is.
        ToolkitError: the pack cannot be read.
    """
    with _unpack(path) as description:
        root = _parse(description, path)
        pack = f"{root.findtext('vendor', '?')}.{root.findtext('name', '?')}"
        devices = dict(_list_devices(root))
        key, remarks = _match(name, devices, path)
        chain = devices[key]
        processor = _choose_processor(chain, core, key, remarks)
        pname = processor.get("Pname")
        memories = _list_memories(chain, pname, path)
        _compare_with_manager(description, key, memories, processor, remarks)
        memories = _merge_views(memories, trustzone=processor.get("Dtz") == "TZ")
        flashes = _read_algorithms(chain, pname, description.parent, remarks)
    return PackDevice(
        key,
        pack,
        _vendor_of(chain) or root.findtext("vendor", "?"),
        processor.get("Dcore", ""),
        processor.get("Dfpu"),
        processor.get("Ddsp"),
        processor.get("Dmve"),
        _number(processor["Dclock"], path) if "Dclock" in processor else None,
        memories,
        flashes,
        tuple(remarks),
    )


# --- files ---


@contextlib.contextmanager
def _unpack(path: Path) -> Iterator[Path]:
    """Path of the .pdsc; cmsis-pack-manager takes a .pack or a folder without a word and finds nothing in it."""
    if not path.exists():
        raise UsageError("there is no such pack", at=str(path), try_="--pack FILE.pack or --pack FILE.pdsc")
    if path.is_dir():
        found = sorted(path.glob("*.pdsc"))
        if len(found) != 1:
            raise UsageError(f"{len(found)} .pdsc files in this folder, one is needed", at=str(path))
        yield found[0]
    elif zipfile.is_zipfile(path):
        with tempfile.TemporaryDirectory(prefix="mmoe-pack-") as folder, zipfile.ZipFile(path) as archive:
            names = [n for n in archive.namelist() if n.lower().endswith(".pdsc")]
            if len(names) != 1:
                raise ToolkitError(f"{len(names)} .pdsc files in this pack, one is needed", at=str(path))
            wanted = [n for n in archive.namelist() if n.lower().endswith((".pdsc", ".flm"))]
            try:
                places = {name: archive.extract(name, folder) for name in wanted}  # each inside the folder
            except (zipfile.BadZipFile, OSError, EOFError) as error:
                raise ToolkitError(f"the pack is damaged: {error}", at=str(path)) from None
            yield Path(places[names[0]])
    elif path.suffix.lower() == ".pack":
        raise ToolkitError("not a pack: a .pack is a zip archive", at=str(path), try_="download it again")
    else:
        yield path


def _parse(description: Path, path: Path) -> ET.Element:
    """The root; `path` is what the user gave, for messages."""
    try:
        root = ET.parse(description).getroot()
    except (ET.ParseError, UnicodeDecodeError, ValueError) as error:
        raise ToolkitError(f"not a pack description: {error}", at=str(path)) from None
    if root.tag != "package":
        raise ToolkitError(f"not a pack description: its root is <{root.tag}>, not <package>", at=str(path))
    return root


# --- the XML: what a device has and what it inherits ---


_Chain = tuple[ET.Element, ...]  # family, subfamily, device, variant


def _list_devices(root: ET.Element) -> Iterator[tuple[str, _Chain]]:
    def walk(element: ET.Element, chain: _Chain) -> Iterator[tuple[str, _Chain]]:
        chain = (*chain, element)
        inner = [child for child in element if child.tag in _LEVELS] if len(chain) < len(_LEVELS) else []
        name = element.get("Dvariant") or element.get("Dname")
        if name and not any(child.tag == "variant" for child in inner):
            yield name, chain
        for child in inner:
            yield from walk(child, chain)

    for family in root.iterfind("devices/family"):
        yield from walk(family, ())


def _match(name: str, devices: dict[str, _Chain], path: Path) -> tuple[str, list[str]]:
    """The one device that is meant: packs list variants, so STM32F407VG is only the begin of STM32F407VGTx."""
    if not devices:
        raise ToolkitError("this pack describes no device", at=str(path), try_="the vendor's device family pack (DFP)")
    wanted = name.lower()
    exact = [key for key in devices if key.lower() == wanted]
    begins = exact or [key for key in devices if key.lower().startswith(wanted)]
    if len(begins) == 1:
        remarks = [] if begins[0] == name else [f"{name} was taken as {begins[0]}"]
        return begins[0], remarks
    near = sorted(begins or devices)
    shown = ", ".join(near[:_CANDIDATES]) + (f" and {len(near) - _CANDIDATES} more" if len(near) > _CANDIDATES else "")
    problem = f"{name!r} can be {len(begins)} devices" if begins else f"no device {name!r} in this pack"
    raise UsageError(problem, at=str(path), try_=f"--device, one of: {shown}")


def _choose_processor(chain: _Chain, core: str | None, device: str, remarks: list[str]) -> dict[str, str]:
    """Attributes of the processor, those of outer levels first."""
    common: dict[str, str] = {}
    named: dict[str, dict[str, str]] = {}
    for element in chain:
        for processor in element.iterfind("processor"):
            pname = processor.get("Pname")
            (common if pname is None else named.setdefault(pname, {})).update(processor.attrib)
    if not named and not common:
        raise ToolkitError(f"device {device} has no <processor>", try_="write the board file by hand")
    if core is not None and core not in named:
        raise UsageError(
            f"device {device} has no processor {core!r}", try_=f"--core, one of: {', '.join(named) or '-'}"
        )
    if not named:
        return common
    chosen = core or next(iter(named))
    if core is None and len(named) > 1:
        remarks.append(f"of the processors {', '.join(named)} the first was taken; --core takes another")
    return common | named[chosen]


def _list_memories(chain: _Chain, pname: str | None, path: Path) -> tuple[PackMemory, ...]:
    found: dict[str, PackMemory] = {}
    for element in chain:
        for memory in element.iterfind("memory"):
            if memory.get("Pname") not in (None, pname):
                continue
            name = memory.get("name") or memory.get("id") or "?"
            access = memory.get("access") or _ACCESS_OF_ID.get((memory.get("id") or "")[:4], "rw")
            if memory.get("start") is None or memory.get("size") is None:
                raise ToolkitError(f"memory {name!r} has no start or no size", at=str(path))
            start, size = _number(memory.get("start", ""), path), _number(memory.get("size", ""), path)
            if start < 0 or size < 0 or start + size > 1 << 32:
                raise ToolkitError(f"memory {name!r} at {start:#x} of {size} B lies in no address space", at=str(path))
            found[name] = PackMemory(
                name,
                start,
                size,
                "".join(letter for letter in "rwx" if letter in access),
                memory.get("startup") in ("1", "true"),
                memory.get("default") not in ("0", "false"),
            )
    return tuple(sorted(found.values(), key=lambda m: m.start))


def _merge_views(memories: tuple[PackMemory, ...], *, trustzone: bool) -> tuple[PackMemory, ...]:
    """One memory for its secure and its non-secure address; it begins where the core starts, or where it is default.

    The pack's own `alias` attribute is not followed: it names the wrong memory now and then, and many packs have none.
    """
    if not trustzone:
        return memories
    by_start = {memory.start: memory for memory in memories}
    merged = []
    for memory in memories:
        other = by_start.get(memory.start ^ _SECURE_BIT)
        if other is None or other.size != memory.size:
            merged.append(memory)
        elif (memory.startup, memory.default, other.start) > (other.startup, other.default, memory.start):
            both = memory.default and other.default
            merged.append(dataclasses.replace(memory, default=both, alias=(other.start,)))
    return tuple(merged)


def _vendor_of(chain: _Chain) -> str:
    """Who makes the chip: the pack may be another company's. "STMicroelectronics:13" has a number of CMSIS's list."""
    return next((v.partition(":")[0] for e in reversed(chain) if (v := e.get("Dvendor"))), "")


def _number(text: str, path: Path) -> int:
    try:
        return int(text.strip(), 0)
    except ValueError:
        raise ToolkitError(f"{text!r} is not a number", at=str(path)) from None


# --- cmsis-pack-manager: a second reader of the same file ---


def _compare_with_manager(
    description: Path, device: str, memories: tuple[PackMemory, ...], processor: dict[str, str], remarks: list[str]
) -> None:
    """Ask cmsis-pack-manager too; its silence and its mistakes become remarks."""
    index, problem = _load_index(description)
    if problem:
        remarks.append(f"cmsis-pack-manager: {problem}")
        return
    entry = index.get(device)
    if entry is None:
        core = processor.get("Dcore")
        what = (
            f"{device}, with core {core!r}"
            if index
            else "every device of this file; one core it does not know is enough"
        )
        remarks.append(f"cmsis-pack-manager dropped {what}: the XML was read instead")
        return
    theirs = {(m["start"], m["size"]) for m in entry.get("memories", {}).values()}
    for start, size in sorted({(m.start, m.size) for m in memories} - theirs):
        remarks.append(f"cmsis-pack-manager has no memory at 0x{start:08x} of {size} B, the XML has")


def _load_index(description: Path) -> tuple[dict[str, Any], str]:
    """(index, what went wrong). Never uses the network: nothing but add_pack_from_path and index is called."""
    import cmsis_pack_manager  # type: ignore[import-untyped]

    with tempfile.TemporaryDirectory(prefix="mmoe-index-") as folder:
        json_path, data_path = os.path.join(folder, "json"), os.path.join(folder, "data")
        os.makedirs(json_path)  # without it nothing is written and nothing is said
        os.makedirs(data_path)
        try:
            writer = cmsis_pack_manager.Cache(True, False, json_path=json_path, data_path=data_path)
            writer.add_pack_from_path(str(description))
            # a fresh object: the first one keeps the index it saw before
            reader = cmsis_pack_manager.Cache(True, False, json_path=json_path, data_path=data_path)
            return {k: v for k, v in reader.index.items() if isinstance(v, dict)}, ""
        except Exception as error:  # noqa: BLE001, raises plain Exception with bytes: 25 lines of Rust
            said = error.args[0] if error.args else ""
            text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
            lines = [line.strip() for line in text.splitlines() if line.strip()]
            return {}, f"failed: {lines[-1] if lines else type(error).__name__}"


# --- flash algorithms ---


def _read_algorithms(chain: _Chain, pname: str | None, folder: Path, remarks: list[str]) -> tuple[FlashDevice, ...]:
    """Read the files ourselves: get_flash_algorithm_binary fails without `all=True`, and has no pack to read from.

    Only default ones: the others are for memories on boards of the vendor, which need not be on this one.
    """
    flashes, others = [], []
    for algorithm in (a for element in chain for a in element.iterfind("algorithm")):
        name = (algorithm.get("name") or "").replace("\\", "/")
        if algorithm.get("Pname") not in (None, pname) or not name:
            continue
        if algorithm.get("default") in ("0", "false"):
            others.append(algorithm.get("start", "?"))
            continue
        file = _find_file(folder, name)
        if file is None:
            remarks.append(f"flash algorithm {name} is not there: page and sector sizes are not known")
            continue
        try:
            flashes.append(read_flm(file.read_bytes(), name))
        except ToolkitError as error:
            remarks.append(f"flash algorithm {name}: {error.message}")
    if others:
        places = ", ".join(sorted(set(others)))
        remarks.append(f"{len(others)} flash algorithms are not default, for memories of some boards at {places}")
    return tuple(flashes)


def _find_file(folder: Path, name: str) -> Path | None:
    """A file of the pack; packs are made on systems that ignore case."""
    place = folder
    for part in name.split("/"):
        if part in ("", "."):
            continue
        if part == ".." or not place.is_dir():
            return None
        found = next((child for child in place.iterdir() if child.name.lower() == part.lower()), None)
        if found is None:
            return None
        place = found
    return place if place.is_file() else None
