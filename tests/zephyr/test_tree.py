"""Real Zephyr: Twister runs the suites on emulated boards, and the example is validated as any build folder is."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file
from zephyr_tree import MMOE_EMBED, SAMPLE, SUITES, UPDATES_OVERLAY, ZephyrTree

from mmoe_embed.board import load_board
from mmoe_embed.build_folder import load_build
from mmoe_embed.errors import MismatchError
from mmoe_embed.golden import Golden
from mmoe_embed.quantized import load_quantized
from mmoe_embed.runners import connect_board
from mmoe_embed.update import (
    find_changed,
    flash_image,
    layout_of,
    load_source,
    make_image,
    replace_experts,
    require_image,
    send_experts,
)
from mmoe_embed.validate import Prompt, compare_steps

pytestmark = [pytest.mark.zephyr, pytest.mark.slow]
PLATFORMS = ("qemu_cortex_m3", "mps2/an385", "mps2/an521/cpu0", "mps3/corstone300/an547", "native_sim/native/64")


def test_twister_passes_the_suites(zephyr: ZephyrTree) -> None:
    output = zephyr.folder / "twister"
    chosen = [part for platform in PLATFORMS for part in ("-p", platform)]
    settings = [f"-x=ZEPHYR_MODULES={zephyr.modules}", f"-x=MMOE_EMBED={MMOE_EMBED}"]
    zephyr.run([zephyr.python, zephyr.base / "scripts" / "twister", "-T", SUITES, *chosen, "-O", output, *settings])
    suites = json.loads((output / "twister.json").read_text())["testsuites"]
    results = [result for result in suites if result["status"] != "filtered"]
    assert {(result["platform"].split("/")[0], result["status"]) for result in results} == {
        (platform.split("/")[0], "passed") for platform in PLATFORMS
    }
    assert len(results) == len(PLATFORMS) + 2  # the suite of paging runs on two of them


@pytest.mark.parametrize("board", ["mps3/corstone300/an547", "mps2/an385"])
def test_the_example_has_the_goldens_bits(zephyr: ZephyrTree, checkpoint: Path, board: str) -> None:
    model = () if "an547" in board else (f"-DMMOE_MODEL={checkpoint}",)  # the watch model is too large for the other
    folder = zephyr.build(board, SAMPLE, *model) / "mmoe_embed"
    build = load_build(folder)
    golden = Golden(load_quantized(build.quantized))
    tokens = tuple(range(3, 3 + golden.config.max_position_embeddings))
    with connect_board(load_board(build.board), build) as client:
        comparison = compare_steps(client, golden, [Prompt(tokens, len(tokens))])
    assert comparison.first_difference is None
    assert comparison.equal_logits == comparison.steps == len(tokens)


def test_experts_are_replaced_through_the_flash_api(zephyr: ZephyrTree, tmp_path: Path) -> None:
    """A partition that is blank at first gets its experts over the serial line, then one of them is replaced."""
    settings = ("MMOE_EMBED_UPDATES=y", "FLASH=y", "FLASH_SIMULATOR=y", "MMOE_EMBED_OTHER_RAM_BYTES=40960")
    options = (f"-DMMOE_MODEL={SUITES / 'tiny'}", f"-DEXTRA_DTC_OVERLAY_FILE={UPDATES_OVERLAY}")
    folder = zephyr.build("qemu_cortex_m3", SAMPLE, *options, *(f"-DCONFIG_{each}" for each in settings), name="updates")
    build = load_build(folder / "mmoe_embed")
    old, layout = load_quantized(build.quantized), layout_of(build)
    other = shutil.copytree(SUITES / "tiny", tmp_path / "other")
    weights = load_file(other / "model.safetensors")
    weights["layers.1.moe.experts.down_proj"][2] *= -1
    save_file(weights, other / "model.safetensors")
    source = load_source(other, old.scheme)
    new = replace_experts(old, source, find_changed(old, source))
    tokens = tuple(range(3, 40))
    with connect_board(load_board(build.board), build, any_experts=True) as client:
        with pytest.raises(MismatchError, match="no expert image"):
            require_image(client)
        flash_image(client, layout, build.expert_image.read_bytes())
        for model, replaced in ((old, ()), (new, ((1, 2),))):
            assert send_experts(client, layout, make_image(build, model)).experts == replaced
            comparison = compare_steps(client, Golden(model), [Prompt(tokens, len(tokens))])
            assert comparison.equal_logits == comparison.steps == len(tokens)


def test_another_checkpoint_is_emitted_again(zephyr: ZephyrTree, checkpoint: Path, tmp_path: Path) -> None:
    model = shutil.copytree(checkpoint, tmp_path / "model")
    option = f"-DMMOE_MODEL={model}"
    first = load_build(zephyr.build("qemu_cortex_m3", SAMPLE, option, name="again") / "mmoe_embed")
    weights = load_file(model / "model.safetensors")
    weights["norm.weight"] *= 2
    save_file(weights, model / "model.safetensors")
    second = load_build(zephyr.build("qemu_cortex_m3", SAMPLE, option, name="again") / "mmoe_embed")
    assert first.model_id != second.model_id
