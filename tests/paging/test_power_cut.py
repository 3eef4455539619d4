"""Power fails at every byte that an update of an expert erases or programs: the old model or the new one, nothing else."""

import dataclasses
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from random_model import small_config, write_checkpoint

from mmoe_embed.board import load_board
from mmoe_embed.build import BuildRequest, build_firmware
from mmoe_embed.build_folder import BuildFolder
from mmoe_embed.checkpoint import load_checkpoint
from mmoe_embed.golden import Golden
from mmoe_embed.plan import PlanRequest
from mmoe_embed.quantize import quantize_checkpoint
from mmoe_embed.quantized import Quantized, load_quantized
from mmoe_embed.resources import boards_dir, firmware_dir, kernels_dir
from mmoe_embed.runners import start_board
from mmoe_embed.serial.client import BoardClient
from mmoe_embed.serial.link import Link
from mmoe_embed.serial.port import Port
from mmoe_embed.storage import write_flash
from mmoe_embed.update import layout_of, make_image, replace_experts, send_experts

pytestmark = pytest.mark.gcc

SECTOR_BYTES = 256  # as of the simulated flash
TOKENS = range(3, 7)  # as of the program's check


def small_sectors(folder: Path) -> Path:
    """The host's board file with small sectors, so that there are fewer bytes to cut at."""
    text = (boards_dir() / "host_x86_64.toml").read_text()
    file = folder / "small_sectors.toml"
    for old, new in (("erase_bytes = 4096", f"erase_bytes = {SECTOR_BYTES}"), ('"host_x86_64"', '"small_sectors"')):
        assert old in text
        text = text.replace(old, new, 1)
    file.write_text(text)
    return file


@dataclasses.dataclass(frozen=True)
class Update:
    """A build, and two models that differ from its own in two experts that its tokens use, from each other in one."""

    build: BuildFolder
    old: Quantized
    new: Quantized
    third: Quantized


@pytest.fixture(scope="module")
def update(tmp_path_factory: pytest.TempPathFactory) -> Update:
    folder = tmp_path_factory.mktemp("power_cut")
    sizes = small_config(hidden_size=16, moe_intermediate_size=16, num_experts=4)
    checkpoint, *others = (write_checkpoint(folder / f"model{seed}", sizes, seed=seed) for seed in range(3))
    options = PlanRequest(expert_slots=3, storage="file", spare_pages=2, chunk=1)
    build = build_firmware(BuildRequest(checkpoint, str(small_sectors(folder)), folder / "build", "int4", options))
    sources = [quantize_checkpoint(load_checkpoint(other), "int4") for other in others]
    old = load_quantized(build.quantized)
    golden = Golden(old)
    golden.step(TOKENS[0])
    used = [(layer, int(golden.routes[layer, 0])) for layer in range(2)]
    new = replace_experts(old, sources[0], used)
    return Update(build, old, new, replace_experts(new, sources[1], used[:1]))


def logits_crc(model: Quantized) -> str:
    """What the program's check gives for a model."""
    golden, crc = Golden(model), 0
    for token in TOKENS:
        crc = zlib.crc32(golden.step(token).tobytes(), crc)
    return f"{crc:08x}"


class Recorder(Port):
    """Remembers what is sent."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.sent = b""

    def write(self, data: bytes) -> None:
        self.sent += data
        super().write(data)


def record(build: BuildFolder, flash: bytes, *models: Quantized) -> list[bytes]:
    """What the host sends to a board with that flash to give it one model after the other."""
    board, layout = load_board(build.board), layout_of(build)
    write_flash(board, "file", build.path, flash)
    conversations = []
    with start_board(board, build.elf) as url:
        for model in models:
            port = Recorder(url)
            with Link(port) as link:
                assert send_experts(BoardClient(link), layout, make_image(build, model)).experts
            conversations.append(port.sent)
    return conversations


@pytest.fixture(scope="module")
def cut(update: Update, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], tuple[int, int]]:
    """Runs the program on the simulated flash with a seed: how many cuts left the old model, how many the new one."""
    folder = tmp_path_factory.mktemp("program")
    gen, firmware, kernels = update.build.path / "gen", firmware_dir(), kernels_dir()
    sources = [Path(__file__).parent / "c" / "power_cut.c", *firmware.glob("src/*.c"), *kernels.glob("reference/*.c")]
    includes = (gen, firmware / "include", firmware / "src", kernels / "include", kernels / "reference")
    warnings = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic"]
    flags = [
        *warnings,
        "-O2",
        "-ffp-contract=off",
        "-fno-math-errno",
        "-DMMOE_UPDATES",
        *(f"-I{path}" for path in includes),
    ]
    emitted = [gen / name for name in ("model.c", "tokens.c", "weights.S")]
    program = folder / "power_cut"
    subprocess.run(["gcc", *flags, *map(str, (*sources, *emitted)), "-static", "-o", str(program)], check=True)
    # it has been updated before: both copies of the table and the spare pages hold what a torn erase may leave
    record(update.build, update.build.expert_image.read_bytes(), update.third, update.old)
    flash = (update.build.path / "flash.bin").read_bytes()
    first, from_new = record(update.build, flash, update.new, update.third)
    (from_old,) = record(update.build, flash, update.third)
    files = {"flash": flash, "first": first, "from_old": from_old, "from_new": from_new}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    crcs = [logits_crc(model) for model in (update.old, update.new, update.third)]
    assert len(set(crcs)) == 3

    def run(seed: int) -> tuple[int, int]:
        arguments = [str(seed), *(str(folder / name) for name in files), *crcs]
        done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        old, new = map(int, done.stdout.split())
        return old, new

    return run


def test_every_cut_leaves_the_old_or_the_new_model(update: Update, cut: Callable[[int], tuple[int, int]]) -> None:
    layout = layout_of(update.build)
    old, new = cut(1)
    erased = layout.spare_pages * layout.stride_bytes + layout.copy_bytes
    programmed = layout.spare_pages * layout.expert_bytes + 12 * layout.experts
    assert old > erased + programmed  # nothing that was cut before the switch had an effect
    assert old + new >= erased + programmed + 32
    print(f"{old + new} cuts: {old} leave the old model, {new} the new one")


@pytest.mark.slow
def test_what_a_cut_leaves_is_arbitrary(cut: Callable[[int], tuple[int, int]]) -> None:
    for seed in range(2, 12):
        assert cut(seed)[0] > 0
