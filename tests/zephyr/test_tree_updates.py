"""Real Zephyr: experts written into a flash partition over the serial line."""

import shutil
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file
from zephyr_tree import SAMPLE, SUITES, UPDATES_OVERLAY, Workspace

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

pytestmark = [pytest.mark.zephyr, pytest.mark.slow, pytest.mark.timeout(3600)]


def test_experts_are_replaced_through_the_flash_api(zephyr: Workspace, tmp_path: Path) -> None:
    """A partition that is blank at first gets its experts over the serial line, then one of them is replaced."""
    settings = ("MMOE_EMBED_UPDATES=y", "FLASH=y", "FLASH_SIMULATOR=y", "MMOE_EMBED_OTHER_RAM_BYTES=40960")
    options = (f"-DEXTRA_DTC_OVERLAY_FILE={UPDATES_OVERLAY}", *(f"-DCONFIG_{each}" for each in settings))
    build = load_build(
        zephyr.build("updates", "-b", "qemu_cortex_m3", "--model", SUITES / "tiny", SAMPLE, "--", *options)
    )
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
