"""A real build of the watch example that pages: the host program with 20 slots for its 64 experts."""

import shutil
from pathlib import Path

import pytest

from mmoe_embed.build import BuildRequest, build_firmware
from mmoe_embed.build_folder import RECORD, UNFINISHED, BuildFolder
from mmoe_embed.plan import PlanRequest

SLOTS = 20


@pytest.fixture(scope="session")
def paged_build(tmp_path_factory: pytest.TempPathFactory) -> BuildFolder:
    folder = tmp_path_factory.mktemp("paged") / "build"
    request = PlanRequest(expert_slots=SLOTS)
    return build_firmware(
        BuildRequest(Path(__file__).resolve().parents[2] / "examples/watch", "host_x86_64", folder, "int4", request)
    )


def copy_objects(build: BuildFolder, folder: Path) -> None:
    """As an interrupted build leaves a folder: what was compiled is used again, whatever is asked for next."""
    shutil.copytree(build.path, folder)
    (folder / RECORD).unlink()
    (folder / UNFINISHED).touch()
