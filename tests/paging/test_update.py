"""Experts of a running board are replaced over its serial line, and its flash is written over the same."""

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from random_model import small_config, write_checkpoint
from verbs import call_verb

from mmoe_embed.board import load_board
from mmoe_embed.build import BuildRequest, build_firmware
from mmoe_embed.build_folder import BuildFolder, load_build
from mmoe_embed.checkpoint import load_checkpoint
from mmoe_embed.errors import MismatchError, ToolkitError, UsageError
from mmoe_embed.experts import image_entries, table_crc
from mmoe_embed.golden import Golden
from mmoe_embed.plan import PlanRequest, plan_model
from mmoe_embed.quantize import quantize_checkpoint
from mmoe_embed.quantized import Quantized, load_quantized
from mmoe_embed.runners import connect_board
from mmoe_embed.serial.client import BoardClient, StatusError
from mmoe_embed.serial.flash import Flash
from mmoe_embed.update import layout_of, make_image, read_entries, replace_experts, send_experts

Run = Callable[..., tuple[int, str]]

TOKENS = (3, 9, 200, 41, 6)
REPLACED = ((0, 3), (1, 5))
BOARDS = [
    pytest.param(("host_x86_64", "file"), id="host", marks=pytest.mark.gcc),
    pytest.param(("qemu_mps2_an386", "emulated-nor"), id="an386", marks=[pytest.mark.arm, pytest.mark.qemu]),
    *(
        pytest.param((name, "emulated-nor"), id=name[10:], marks=[pytest.mark.arm, pytest.mark.qemu, pytest.mark.slow])
        for name in ("qemu_mps2_an500", "qemu_mps2_an505")
    ),
]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("checkpoints")
    return [write_checkpoint(folder / f"model{seed}", small_config(), seed=seed) for seed in range(2)]


@pytest.fixture(scope="module", params=BOARDS)
def built(
    request: pytest.FixtureRequest, checkpoints: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> BuildFolder:
    board, storage = request.param
    folder = tmp_path_factory.mktemp(board) / "build"
    plan = PlanRequest(expert_slots=3, storage=storage, spare_pages=2)
    return build_firmware(BuildRequest(checkpoints[0], board, folder, "int8", plan))


@pytest.fixture
def build(built: BuildFolder, tmp_path: Path) -> BuildFolder:
    """A copy of the build, with the flash as it was made."""
    subprocess.run(["cp", "-r", "--sparse=always", built.path, tmp_path / "build"], check=True)
    return load_build(tmp_path / "build")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Exit code and output of a verb."""

    def call(*arguments: object) -> tuple[int, str]:
        code, out, err = call_verb(capsys, *arguments)
        return code, out + err

    return call


@contextlib.contextmanager
def running(build: BuildFolder) -> Iterator[BoardClient]:
    with connect_board(load_board(build.board), build, any_experts=True) as client:
        yield client


def has_bits_of(client: BoardClient, model: Quantized) -> bool:
    golden = Golden(model)
    client.reset()
    return all(client.checked_logits(client.step(t)).tobytes() == golden.step(t).tobytes() for t in TOKENS)


def is_proven(folder: Path) -> bool:
    """Whether the board has the experts that a build folder records, and their bits."""
    build = load_build(folder)
    with connect_board(load_board(build.board), build) as client:
        return has_bits_of(client, load_quantized(build.quantized))


def updated(build: BuildFolder, checkpoints: list[Path]) -> Quantized:
    """The build's model with experts of the other checkpoint."""
    other = quantize_checkpoint(load_checkpoint(checkpoints[1]), "int8")
    return replace_experts(load_quantized(build.quantized), other, REPLACED)


class PowerCutError(Exception):
    pass


def test_power_cut_over_serial_leaves_the_old_experts(build: BuildFolder, checkpoints: list[Path]) -> None:
    """The board dies while pages and table are on their way, and starts again with its flash as it was left."""
    old, new, layout = load_quantized(build.quantized), updated(build, checkpoints), layout_of(build)
    image, total = make_image(build, new), 0

    def fail_at(limit: int) -> Callable[[int], None]:
        def count(length: int) -> None:
            nonlocal total
            total += length
            if total >= limit:
                raise PowerCutError

        return count

    for limit in (
        1,
        layout.expert_bytes // 2,
        layout.expert_bytes + 1000,
        2 * layout.expert_bytes + 12 * layout.experts,
    ):
        total = 0
        with pytest.raises(PowerCutError), running(build) as client:
            send_experts(client, layout, image, fail_at(limit))
        with running(build) as client:
            assert client.identify().updates == 0
            assert has_bits_of(client, old)
    with running(build) as client:
        assert send_experts(client, layout, image).experts == REPLACED
        assert has_bits_of(client, new)
    with running(build) as client:
        assert client.identify().updates == 1
        assert has_bits_of(client, new)


def test_verbs_know_which_experts_the_board_has(build: BuildFolder, checkpoints: list[Path], run: Run) -> None:
    flash = build.path / "flash.bin"
    factory = flash.read_bytes()
    code, text = run("update-expert", build.path, 0, 3, 1, 5, "--from", checkpoints[1])
    assert (code, "replaced layer 0 expert 3, layer 1 expert 5" in text) == (0, True)
    now = load_build(build.path)
    assert load_quantized(now.quantized).model_id == updated(build, checkpoints).model_id == now.golden_id
    code, text = run("validate", build.path, "--steps", 20)
    assert (code, "updates     1 since" in text) == (0, True)
    # a board that was not updated is not compared with the golden of one that was
    replaced = flash.read_bytes()
    flash.write_bytes(factory)
    code, text = run("validate", build.path, "--steps", 20)
    assert (code, "layer 0 expert 3, layer 1 expert 5" in text) == (MismatchError.exit_code, True)
    assert run("update-expert", build.path)[0] == 0  # it gets what it lacks
    assert is_proven(build.path)
    # `flash` writes the new experts, too
    assert run("flash", build.path)[0] == 0
    assert flash.read_bytes() not in (factory, replaced)
    assert is_proven(build.path)
    # back to the old ones
    flash.write_bytes(replaced)
    assert run("update-expert", build.path, "--from", checkpoints[0])[0] == 0
    assert (load_build(build.path).golden_id, list((build.path / "updates").iterdir())) == (build.model_id, [])
    assert is_proven(build.path)


def test_update_whose_answer_was_lost_is_recorded_later(build: BuildFolder, checkpoints: list[Path], run: Run) -> None:
    with running(build) as client:
        send_experts(client, layout_of(build), make_image(build, updated(build, checkpoints)))
    with pytest.raises(MismatchError, match=r"layer 0 expert 3, layer 1 expert 5 of its update 1"):
        is_proven(build.path)
    code, text = run("update-expert", build.path, 0, 3, 1, 5, "--from", checkpoints[1])
    assert (code, "nothing to replace" in text) == (0, True)
    assert is_proven(build.path)


def test_serial_runner_fills_a_blank_flash(build: BuildFolder, run: Run) -> None:
    flash = build.path / "flash.bin"
    blank = bytes(flash.stat().st_size)
    flash.write_bytes(blank)
    code, text = run("validate", build.path, "--steps", 20)
    assert (code, "--runner serial" in text.replace("\n", " ")) == (MismatchError.exit_code, True)
    assert run("flash", build.path, "--runner", "serial", "--dry-run")[0] == 0
    assert flash.read_bytes() == blank
    code, text = run("flash", build.path, "--runner", "serial")
    assert code == 0, text
    assert flash.read_bytes().startswith(build.expert_image.read_bytes())
    assert is_proven(build.path)


def test_what_the_model_needs_is_not_written(build: BuildFolder, checkpoints: list[Path]) -> None:
    layout = layout_of(build)
    page, sector = layout.stride_bytes, layout.alignment
    with running(build) as client:
        flash = Flash(client)
        entries = read_entries(client, layout)
        for offset in (0, layout.first_page, layout.first_page + 3 * page):
            with pytest.raises(StatusError, match="MMOE_E_ARGUMENT"):
                flash.erase(offset, sector)
            with pytest.raises(StatusError, match="MMOE_E_ARGUMENT"):
                flash.write(offset, bytes(32))
        with pytest.raises(StatusError, match="MMOE_E_ARGUMENT"):
            flash.write(layout.copy_of(1), bytes(32))  # what makes a table valid
        with pytest.raises(StatusError, match="MMOE_E_ARGUMENT"):
            flash.erase(layout.pages[-1], sector // 2)
        with pytest.raises(StatusError, match="MMOE_E_ARGUMENT"):
            flash.switch(2, 0)
        with pytest.raises(StatusError, match="MMOE_E_IMAGE"):
            flash.switch(1, table_crc(1, bytes(12 * layout.experts)))
        image = bytearray(make_image(build, updated(build, checkpoints)))
        at = image_entries(bytes(image))[3].offset
        image[at + 7] ^= 1  # a page that is not what its table says
        with pytest.raises(StatusError, match="MMOE_E_PAGE_CRC"):
            send_experts(client, layout, bytes(image))
        assert read_entries(client, layout) == entries
        assert has_bits_of(client, load_quantized(build.quantized))


def test_update_of_what_cannot_be_is_refused(
    build: BuildFolder, checkpoints: list[Path], run: Run, tmp_path: Path
) -> None:
    before = (build.path / "flash.bin").read_bytes()
    other = write_checkpoint(tmp_path / "wider", small_config(moe_intermediate_size=64))
    for arguments, message in (
        ((0, 3), "--from"),
        ((0,), "two numbers"),
        ((2, 0, "--from", checkpoints[1]), "layers 0..1"),
        ((0, 1, 0, 2, 0, 3, "--from", checkpoints[1]), "2 spare pages"),
        ((0, 1, "--from", other), "moe_intermediate_size is 64"),
        (("--from", tmp_path / "none"), "none"),
    ):
        code, text = run("update-expert", build.path, *arguments)
        assert code in (1, 2)
        assert message in text.replace("\n", " ")
    assert (build.path / "flash.bin").read_bytes() == before
    assert load_build(build.path).record == build.record


def test_build_that_cannot_be_updated_says_so(checkpoints: list[Path], run: Run, tmp_path: Path) -> None:
    model = quantize_checkpoint(load_checkpoint(checkpoints[0]), "int8")
    board = load_board("qemu_mps2_an505")
    assert plan_model(model, board).spare_pages == 0
    with pytest.raises(UsageError, match="only reads") as refused:
        plan_model(model, board, PlanRequest(storage="pl081", spare_pages=1))
    assert "emulated-nor" in refused.value.try_
    plan = plan_model(model, board, PlanRequest(storage="emulated-nor"))
    assert (plan.spare_pages, plan.page_alignment, plan.mapped) == (1, 4096, False)
    with pytest.raises(ToolkitError, match="do not fit the flash"):
        plan_model(model, board, PlanRequest(storage="emulated-nor", spare_pages=4090))


@pytest.mark.arm
def test_image_without_spare_pages_has_no_code_for_updates(checkpoints: list[Path], run: Run, tmp_path: Path) -> None:
    plan = PlanRequest(expert_slots=3, storage="emulated-nor", spare_pages=0)
    build = build_firmware(BuildRequest(checkpoints[0], "qemu_mps2_an386", tmp_path / "build", "int8", plan))
    names = subprocess.run(["arm-none-eabi-nm", build.elf], capture_output=True, text=True, check=True).stdout
    assert "mmoe_image_open" in names
    assert not [name for name in ("mmoe_update", "flash_erase", "flash_program", "mmoe_pager_settle") if name in names]
    code, text = run("update-expert", build.path, 0, 3, "--from", checkpoints[1])
    assert (code, "no spare page" in text) == (UsageError.exit_code, True)
