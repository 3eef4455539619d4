"""The command as a user meets it: exit codes, error texts, the JSON envelope, also when failing."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from random_model import small_config, write_checkpoint

from mmoe_embed.cli.output import report_failure
from mmoe_embed.errors import ToolkitError


def run_cli(*arguments: object, timeout_s: float = 120, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run mmoe-embed as its own process."""
    command = [sys.executable, "-c", "from mmoe_embed.cli import main; main()", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=timeout_s, env=environment(), cwd=cwd, check=False
    )


def environment() -> dict[str, str]:
    """Where Python finds the package of this checkout."""
    root = Path(__file__).resolve().parents[2]
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(root / "toolkit"), str(root)]), "COLUMNS": "200"}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("model") / "tiny", small_config())


def test_help_lists_every_verb() -> None:
    done = run_cli("--help")
    assert done.returncode == 0
    for verb in ("train", "quantize", "plan", "emit", "build", "flash", "validate", "run", "boards", "doctor"):
        assert f" {verb} " in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "texts"),
    [
        (
            ("plan", "{checkpoint}", "--board", "qemu_mps2_an368"),
            2,
            ["unknown board 'qemu_mps2_an368'", "qemu_mps2_an386"],
        ),
        (("plan", "{tmp}/nowhere", "--board", "host_x86_64"), 1, ["is not a checkpoint: no such folder"]),
        (
            ("plan", "{checkpoint}", "--board", "qemu_mps2_an386", "--sram", "8K"),
            3,
            ["B over)", "try: --scheme int4 --sram"],
        ),
        (("plan", "{checkpoint}", "--board", "qemu_mps2_an386", "--sram", "lots"), 2, ["128K"]),
        (
            ("plan", "{checkpoint}", "--board", "qemu_mps2_an386", "--sram", "100M"),
            2,
            ["more than qemu_mps2_an386 has"],
        ),
        (("plan", "{checkpoint}", "--board", "qemu_mps2_an386", "--expert-slots", "1"), 2, ["too few"]),
        (("build", "{checkpoint}", "--board", "host_x86_64"), 2, ["--output"]),
        (("build", "{checkpoint}", "--board", "host_x86_64", "-o", "{checkpoint}/config.json"), 2, ["is a file"]),
        (("quantize", "{checkpoint}", "-o", "/proc/nowhere/q.safetensors"), 1, ["Error:", "/proc/nowhere"]),
        (("run", "{tmp}", "hello", "--port", "socket://127.0.0.1"), 1, ["no build there"]),
        (("run", "{tmp}", ""), 2, ["PROMPT is empty"]),
        (("boards", "show", "frobnicate"), 2, ["unknown board 'frobnicate'"]),
        (("validate", "{tmp}"), 1, ["is not a finished build: no build there"]),
        (("frobnicate",), 2, ["frobnicate"]),
    ],
)
def test_bad_input_gets_a_clear_error(
    tmp_path: Path, checkpoint: Path, arguments: tuple[str, ...], code: int, texts: list[str]
) -> None:
    filled = [argument.format(checkpoint=checkpoint, tmp=tmp_path) for argument in arguments]
    done = run_cli(*filled)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    for text in texts:
        assert text in done.stderr
    assert "Traceback" not in done.stderr

    machine = run_cli(*filled, "--json")
    envelope = json.loads(machine.stdout)
    assert machine.returncode == envelope["exit_code"] == code
    assert envelope["status"] == "failed"
    assert envelope["error"]["message"]
    assert envelope["envelope"] == 1
    words = 2 if arguments[0] == "boards" else 0 if arguments[0] == "frobnicate" else 1
    assert envelope["verb"] == " ".join(arguments[:words])


def test_only_a_bug_prints_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    for error, is_bug in ((ToolkitError("full", try_="this is a bug of yours"), False), (KeyError("oops"), True)):
        assert report_failure(error, "plan", as_json=False) == 1
        said = capsys.readouterr().err
        assert said.startswith("Error: ")
        assert said.count(type(error).__name__) == (2 if is_bug else 0)  # in the message, and at the traceback's end


def test_plan_prints_one_envelope(checkpoint: Path) -> None:
    done = run_cli("plan", checkpoint, "--board", "qemu_mps3_an547", "--json")
    assert done.returncode == 0
    envelope = json.loads(done.stdout)
    assert (envelope["tool"], envelope["verb"], envelope["status"]) == ("mmoe-embed", "plan", "ok")
    assert envelope["data"]["arena_proven"] is True


@pytest.mark.gcc
def test_build_does_not_do_again_what_did_not_change(tmp_path: Path, checkpoint: Path) -> None:
    arguments = ("build", checkpoint, "--board", "host_x86_64", "-o", tmp_path / "b")
    assert run_cli(*arguments).returncode == 0
    objects = {file: file.stat().st_mtime_ns for file in (tmp_path / "b" / "obj").iterdir()}
    emitted = {file: file.stat().st_mtime_ns for file in (tmp_path / "b" / "gen").iterdir()}
    assert run_cli(*arguments).returncode == 0
    assert objects == {file: file.stat().st_mtime_ns for file in (tmp_path / "b" / "obj").iterdir()}
    assert emitted == {file: file.stat().st_mtime_ns for file in (tmp_path / "b" / "gen").iterdir()}


@pytest.mark.arm
@pytest.mark.parametrize(
    ("board", "compiler"),
    [
        ("qemu_mps2_an386", "gcc"),
        ("qemu_mps2_an386", "zig"),
        pytest.param("qemu_mps2_an385", "zig", marks=pytest.mark.slow),  # with clang's library
    ],
)
def test_build_gives_the_same_bytes_wherever_it_is_made(
    tmp_path: Path, checkpoint: Path, board: str, compiler: str
) -> None:
    copy = shutil.copytree(checkpoint, tmp_path / "elsewhere" / "renamed")
    images = []
    for model, output in ((checkpoint, tmp_path / "a"), (copy, tmp_path / "deeper" / "b"), (copy, Path("c/d"))):
        arguments = ("--board", board, "-o", output, "--compiler", compiler)
        done = run_cli("build", model, *arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        images.append((tmp_path / output / "firmware.elf").read_bytes())
        for here in (tmp_path, Path(__file__).parents[2], Path(sys.prefix), Path("/usr/lib/gcc")):
            assert str(here).encode() not in images[-1]
    assert images[0] == images[1] == images[2]


@pytest.mark.gcc
@pytest.mark.parametrize(("verb", "size"), [("build", "600k"), ("build", "60k"), ("emit", "60k"), ("quantize", "20k")])
def test_full_disk(tmp_path: Path, checkpoint: Path, verb: str, size: str) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    board = [] if verb == "quantize" else ["--board", "host_x86_64"]
    arguments = shlex.join([verb, str(checkpoint), *board, "-o", str(disk / "output")])
    script = (
        f"mount -t tmpfs -o size={size} none {disk} || exit 99\n"
        f"{sys.executable} -c 'from mmoe_embed.cli import main; main()' {arguments}\n"
        f"code=$?; find {disk} -name '*partial*' >&2; exit $code"
    )
    done = subprocess.run(
        ["unshare", "--mount", "--map-root-user", "sh", "-c", script],
        capture_output=True, text=True, env=environment(), check=False,
    )  # fmt: skip
    if done.returncode == 99 or "unshare" in done.stderr:
        pytest.skip("no right to mount a small disk")
    assert done.returncode == 1, done.stderr
    assert "disk is full" in done.stderr or "No space left" in done.stderr
    assert f"at: {disk}" in done.stderr
    assert "try: " in done.stderr
    assert "partial" not in done.stderr


@pytest.mark.gcc
def test_build_refuses_a_folder_of_other_inputs(tmp_path: Path, checkpoint: Path) -> None:
    folder = tmp_path / "b"
    assert run_cli("build", checkpoint, "--board", "host_x86_64", "-o", folder).returncode == 0
    other = run_cli("build", checkpoint, "--board", "qemu_mps2_an386", "-o", folder)
    assert other.returncode == 6
    assert "holds a build of board host_x86_64, not of qemu_mps2_an386" in other.stderr
    second = write_checkpoint(tmp_path / "second", small_config(), seed=5)
    refused = run_cli("build", second, "--board", "host_x86_64", "-o", folder)
    assert refused.returncode == 6
    assert "--clean" in refused.stderr
    options = run_cli("build", checkpoint, "--board", "host_x86_64", "-o", folder, "--scheme", "int4")
    assert options.returncode == 6
    assert "holds a build of scheme auto, not of int4" in options.stderr
    few = run_cli("build", checkpoint, "--board", "host_x86_64", "-o", folder, "--expert-slots", "3")
    assert "holds a build of expert_slots default, not of 3" in few.stderr
    record = json.loads((folder / "build.json").read_text())
    del record["options"]["prefetch"]  # as an older tool would have left it, which had no such option
    (folder / "build.json").write_text(json.dumps(record | {"inputs": "of an older tool"}))
    assert run_cli("build", checkpoint, "--board", "host_x86_64", "-o", folder).returncode == 0
    (folder / "prompts.txt").write_text("what an example's build would have left\n")
    assert run_cli("build", second, "--board", "host_x86_64", "-o", folder, "--clean").returncode == 0
    assert not (folder / "prompts.txt").exists()

    (folder / "quantized.safetensors").write_bytes(b"changed")
    changed = run_cli("validate", folder)
    assert changed.returncode == 6
    assert "quantized.safetensors has changed since it was built" in changed.stderr


@pytest.mark.gcc
def test_build_leaves_a_foreign_folder_alone(tmp_path: Path, checkpoint: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    done = run_cli("build", checkpoint, "--board", "host_x86_64", "-o", tmp_path)
    assert done.returncode == 6
    assert (tmp_path / "thesis.txt").read_text() == "mine"
    assert "not empty and not a build folder" in done.stderr


@pytest.mark.gcc
def test_validate_refuses_the_firmware_of_another_build(tmp_path: Path, checkpoint: Path) -> None:
    second = write_checkpoint(tmp_path / "second", small_config(), seed=5)
    for model, name in ((checkpoint, "a"), (second, "b")):
        assert run_cli("build", model, "--board", "host_x86_64", "-o", tmp_path / name).returncode == 0
    server = subprocess.Popen(
        [tmp_path / "b" / "firmware", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        port = server.stdout.readline().rpartition(" ")[2].strip()
        done = run_cli("validate", tmp_path / "a", "--port", f"socket://{port}")
    finally:
        server.kill()
        server.communicate()
    assert done.returncode == 6
    assert "build" in done.stderr


@pytest.mark.arm
def test_build_that_does_not_fit_keeps_the_good_one(tmp_path: Path, checkpoint: Path) -> None:
    arguments = ("build", checkpoint, "--board", "qemu_mps2_an386", "-o", tmp_path / "a, b")  # commas reach the linker
    assert run_cli(*arguments, "--sram", "40K").returncode == 0
    record = (tmp_path / "a, b" / "build.json").read_bytes()
    files = {file: file.stat().st_mtime_ns for file in (tmp_path / "a, b").rglob("*")}
    assert run_cli(*arguments, "--clean", "--sram", "100").returncode == 3
    assert (tmp_path / "a, b" / "build.json").read_bytes() == record
    assert run_cli(*arguments, "--sram", "40K").returncode == 0
    assert files == {file: file.stat().st_mtime_ns for file in (tmp_path / "a, b").rglob("*")}
