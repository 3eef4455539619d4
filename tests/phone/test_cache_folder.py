"""The operators that `run` and `validate` build are kept for one source folder and one ExecuTorch."""

from pathlib import Path

import pytest

pytest.importorskip("executorch", reason="needs ExecuTorch (the phone extra)")

from mmoe_embed.cli import program


def test_another_checkout_or_environment_has_operators_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """CMake refuses a folder that it made for another source."""
    folders = []
    monkeypatch.setattr(program, "Session", lambda _file, library: library)
    monkeypatch.setattr(program, "build_operators", lambda folder: folders.append(folder) or folder)
    for source, package in (("a", "x"), ("b", "x"), ("a", "y"), ("a", "x")):
        monkeypatch.setattr(program, "firmware_dir", lambda source=source: tmp_path / source)
        monkeypatch.setattr(program, "installed_package", lambda package=package: tmp_path / package)
        program.open_program(tmp_path / "model.pte")
    assert len(set(folders)) == 3
    assert folders[0] == folders[3]
