"""The verbs that meet a board, as a user calls them: exit code, stdout, stderr."""

import io
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from fake_board import BUILD_ID, MODEL_ID, FakeBoard, listen_silently
from random_model import small_config, write_checkpoint
from verbs import Run

from mmoe_embed.checkpoint import load_checkpoint
from mmoe_embed.prompt import load_pairs
from mmoe_embed.quantize import quantize_checkpoint
from mmoe_embed.quantized import save_quantized


@pytest.fixture
def build(tmp_path: Path) -> Path:
    """A build folder as far as the serial verbs look into one."""
    record = {
        "format": 1, "board": "host_x86_64", "elf": "firmware", "model_id": MODEL_ID, "build_id": BUILD_ID,
        "quantized": "quantized.safetensors", "files": {},
    }  # fmt: skip
    folder = tmp_path / "build"
    folder.mkdir()
    (folder / "build.json").write_text(json.dumps(record))
    (folder / "gen").mkdir()
    (folder / "gen" / "plan.json").write_text('{"storage": "mapped", "spare_pages": 0}')
    return folder


@pytest.fixture
def build_with_model(build: Path, tmp_path: Path) -> Path:
    """The same with a model, which says what a data set must be."""
    checkpoint = load_checkpoint(write_checkpoint(tmp_path / "model", small_config()))
    save_quantized(quantize_checkpoint(checkpoint, "int8"), build / "quantized.safetensors")
    plan = {"storage": "mapped", "spare_pages": 0, "paging": {"cache_margin": 0.0}}
    (build / "gen" / "plan.json").write_text(json.dumps(plan))
    return build


def test_run_prompt(board: FakeBoard, build: Path, run: Run) -> None:
    assert run("run", str(build), "hello", "--port", board.url) == (0, "lleh\n", "")


def pipe(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    """Standard input as a pipe gives it."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))


def test_run_pipe_one_answer_a_line(board: FakeBoard, build: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe(monkeypatch, b"hello\n\nthis is far too long for it\nabc\n")
    code, out, err = run("run", str(build), "--port", board.url)
    assert (code, out) == (1, "lleh\n\ncba\n")
    assert "line 3: prompt failed on the board" in err.replace("\n", " ")


def test_run_pipe_without_a_prompt(board: FakeBoard, build: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe(monkeypatch, b"\n  \n")
    code, out, err = run("run", str(build), "--port", board.url)
    assert (code, out) == (2, "")
    assert "no prompt on standard input" in err


def test_run_pipe_that_is_not_text(board: FakeBoard, build: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe(monkeypatch, b"abc\nh\xe9llo\n")
    code, out, err = run("run", str(build), "--port", board.url)
    assert (code, out) == (2, "cba\n")
    assert "byte 1 of the line is 0xe9" in err
    assert "at: standard input, line 2" in err


def test_run_prompt_that_is_not_text(build: Path, run: Run) -> None:
    code, _, err = run("run", str(build), "h\udce9llo")
    assert code == 2
    assert "PROMPT is not UTF-8" in err


def test_run_json(board: FakeBoard, build: Path, run: Run) -> None:
    code, out, _ = run("run", str(build), "hello", "--port", board.url, "--json")
    answer = {"prompt": "hello", "answer": "lleh", "error": ""}
    assert (code, json.loads(out)["data"]) == (0, {"answers": [answer]})


def test_run_verbose_speaks_on_stderr(board: FakeBoard, build: Path, run: Run) -> None:
    code, out, err = run("run", str(build), "hello", "--port", board.url, "-v")
    assert (code, out) == (0, "lleh\n")
    assert "5 tokens" in err


def test_another_build_on_the_board(board: FakeBoard, build: Path, run: Run) -> None:
    board.build_id = "44" * 32
    for arguments in (["run", str(build), "hi"], ["flash", str(build)]):
        code, out, err = run(*arguments, "--port", board.url)
        assert (code, out) == (6, "")
        assert "another build" in err


def test_silent_board(build: Path, run: Run) -> None:
    with listen_silently() as url:
        code, _, err = run("run", str(build), "hi", "--port", url)
    assert code == 4
    assert "silent" in err


def test_missing_port_as_json(build: Path, run: Run) -> None:
    code, out, _ = run("run", str(build), "hi", "--port", "/dev/ttyNOPE7", "--json")
    envelope = json.loads(out)
    assert (code, envelope["exit_code"], envelope["status"]) == (4, 4, "failed")
    assert envelope["error"]["at"] == "/dev/ttyNOPE7"


def test_empty_port_never_starts_the_emulator(build: Path, run: Run) -> None:
    code, _, err = run("validate", str(build), "--port", "")
    assert code == 2
    assert "--port is empty" in err


def test_no_build(tmp_path: Path, run: Run) -> None:
    code, _, err = run("run", str(tmp_path), "hi")
    assert code == 1
    assert "not a finished build" in err


@pytest.mark.parametrize("damage", ['{"format": 1}', '{"format": 1, "board": "x", "elf": "y", "files": []}'])
def test_damaged_record_of_a_build(build: Path, run: Run, damage: str) -> None:
    (build / "build.json").write_text(damage)
    code, _, err = run("run", str(build), "hi")
    assert code == 6
    assert "the build's record has no " in err
    assert "build.json" in err


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "empty"),
        ('{"prompt": "a"}', "set.jsonl:1"),
        ("\n[]", "set.jsonl:2"),
        ("nonsense", '"completion"'),
        ('{"prompt": "a", "completion": 1}', "set.jsonl:1"),
        pytest.param('{"prompt": "\\ud800", "completion": "no UTF-8 has it"}', "set.jsonl:1", id="surrogate"),
        pytest.param("[" * 100_000, "set.jsonl:1", id="deep"),
    ],
)
def test_accuracy_bad_dataset(build_with_model: Path, run: Run, tmp_path: Path, content: str, words: str) -> None:
    dataset = tmp_path / "set.jsonl"
    dataset.write_text(content)
    code, _, err = run("accuracy", str(build_with_model), str(dataset))
    assert code == 1
    assert words in err


def test_accuracy_missing_dataset(build_with_model: Path, run: Run, tmp_path: Path) -> None:
    code, _, err = run("accuracy", str(build_with_model), "nowhere.jsonl")
    assert code == 1
    assert "no such file" in err
    assert "this is a folder" in run("accuracy", str(build_with_model), str(tmp_path))[2]


def test_load_pairs_of_other_editors(tmp_path: Path) -> None:
    """A mark before the text, line ends of Windows, a line separator that JSON allows in a text."""
    dataset = tmp_path / "set.jsonl"
    dataset.write_bytes('\ufeff{"prompt": "a\u2028b", "completion": "c"}\r\n\r\n'.encode())
    assert load_pairs(dataset) == [("a\u2028b", "c")]


def test_flash_dry_run_prints_the_command(build: Path, run: Run) -> None:
    code, out, _ = run("flash", str(build), "--dry-run")
    assert code == 0
    assert out.strip().endswith(str(build / "firmware"))


def test_validate_keeps_reports_when_it_fails_early(build: Path, run: Run, tmp_path: Path) -> None:
    junit, html = tmp_path / "junit.xml", tmp_path / "report.html"
    for file in (junit, html):
        file.write_text("of the last run")
    taken = tmp_path / "taken"
    taken.mkdir()
    code, _, err = run("validate", str(build), "--junit", str(junit), "--html", str(taken))
    assert code == 1
    assert f"at: {taken}" in err
    code, _, err = run("validate", str(build), "--junit", str(junit), "--html", str(junit))
    assert (code, "two reports into one file" in err) == (2, True)
    assert run("validate", str(tmp_path), "--junit", str(junit), "--html", str(html))[0] == 1  # no build there
    assert run("validate", str(build), "--html", str(html))[0] == 1  # its model is not there
    assert {file.read_text() for file in (junit, html)} == {"of the last run"}
    assert sorted(file.name for file in tmp_path.iterdir()) == ["build", "junit.xml", "report.html", "taken"]


def test_validate_writes_junit_of_an_error(build: Path, run: Run, tmp_path: Path) -> None:
    junit = tmp_path / "junit.xml"
    code, _, err = run("validate", str(build), "--junit", str(junit))
    assert code == 1
    assert "no such quantized model" in err
    root = ElementTree.parse(junit).getroot()
    assert (root.attrib["errors"], root.attrib["tests"]) == ("1", "1")


def test_validate_interrupted_leaves_no_older_report(
    build: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mmoe_embed.cli.validate.load_golden", interrupt)
    junit = tmp_path / "junit.xml"
    junit.write_text("of the last run")
    assert run("validate", str(build), "--junit", str(junit))[0] == 130
    assert '<error message="interrupted"' in junit.read_text()


def test_accuracy_results_that_cannot_be_kept(build_with_model: Path, run: Run, tmp_path: Path) -> None:
    dataset = tmp_path / "set.jsonl"
    dataset.write_text('{"prompt": "a", "completion": "b"}\n')
    code, _, err = run("accuracy", str(build_with_model), str(dataset), "--host", "--fresh", "--results", "/dev/null")
    assert code == 2
    assert "at: /dev/null" in err
    assert Path("/dev/null").is_char_device()
