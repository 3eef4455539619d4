"""A kernel that includes another kernel's .c file was not compiled again when that file changed."""

import shutil
from pathlib import Path

import pytest
from random_model import small_config, write_checkpoint

from mmoe_embed import compile as compiling
from mmoe_embed.build import BuildRequest, build_firmware
from mmoe_embed.resources import kernels_dir


@pytest.mark.gcc
def test_object_follows_every_kernel_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = tmp_path / "kernels"
    shutil.copytree(kernels_dir(), kernels)
    monkeypatch.setattr(compiling, "kernels_dir", lambda: kernels)
    checkpoint = write_checkpoint(tmp_path / "model", small_config())
    request = BuildRequest(checkpoint, "host_x86_64", tmp_path / "build")
    build_firmware(request)
    before = {file.name for file in (tmp_path / "build" / "obj").glob("*.o")}
    with (kernels / "reference" / "mmoe_quantize_s8.c").open("a") as file:
        file.write("/* changed */\n")
    (tmp_path / "build" / "build.json").unlink()
    (tmp_path / "build" / ".unfinished").touch()
    build_firmware(request)
    after = {file.name for file in (tmp_path / "build" / "obj").glob("*.o")}
    assert not {name for name in before & after if name.startswith("reference-")}
