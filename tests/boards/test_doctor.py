"""Doctor: says what is missing and how to get it, and never calls a machine ready that is not."""

import json

import pytest
from verbs import call_verb

from mmoe_embed import doctor


def _run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    return call_verb(capsys, *arguments)[:2]


def test_doctor_machine_without_programs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(doctor, "_program_version", lambda name: None)
    monkeypatch.setattr(doctor, "_package_version", lambda name: None if name == "ziglang" else "1.0")
    code, out = _run(capsys, "doctor")
    assert code == 5
    assert "to get gcc (for required): sudo apt-get install gcc" in out
    assert out.splitlines()[-1].startswith("not ready")


def test_doctor_ziglang_stands_in_for_compilers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_program_version", lambda name: None)
    monkeypatch.setattr(doctor, "_package_version", lambda name: "1.0")
    diagnosis = doctor.diagnose()
    missing = [finding.name for finding in diagnosis.missing]
    assert diagnosis.ok
    assert "arm-none-eabi-gcc" not in missing
    assert "qemu-system-arm" in missing
    assert doctor.render_diagnosis(diagnosis).splitlines()[-1].startswith("ready, but not for an emulated board")


def test_doctor_json(capsys: pytest.CaptureFixture[str]) -> None:
    _, out = _run(capsys, "doctor", "--json")
    data = json.loads(out)["data"]
    assert {"python", "findings", "missing", "ok", "boards"} <= set(data)
    assert next(f for f in data["findings"] if f["name"] == "pyserial")["found"]


def test_boards_list_and_show(capsys: pytest.CaptureFixture[str]) -> None:
    code, out = _run(capsys, "boards", "list")
    assert code == 0
    assert "qemu_mps3_an547" in out
    code, out = _run(capsys, "boards", "show", "qemu_mps2_an386")
    assert "196608 B to use" in out
    assert "emulated-nor at 0x21000000\n" in out  # no interrupt
    code, out = _run(capsys, "boards", "show", "qemu_mps2_an386", "--json")
    assert json.loads(out)["data"]["memory"][1]["budget"] == 196608
    assert json.loads(out)["verb"] == "boards show"
