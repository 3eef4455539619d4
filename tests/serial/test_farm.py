"""Four emulated boards behind one labgrid coordinator: reserved by tag, in parallel, elsewhere when one is dead, one report."""

import contextlib
import json
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from fake_board import listen_silently
from verbs import call_verb

from mmoe_embed.board import load_board
from mmoe_embed.build_folder import PROMPTS, BuildFolder
from mmoe_embed.errors import DeviceError, ToolchainError
from mmoe_embed.farm.jobs import Farm, Job
from mmoe_embed.farm.lab import Lab, NoPlaceError
from mmoe_embed.runners import start_board
from mmoe_embed.runners.process import find_free_port

FARM = Path(sys.prefix) / "farm" / "bin"  # scripts/setup.sh makes it
BOARDS = 4
TAGS = {"board": "qemu_mps3_an547"}

# Run by the farm's Python: places, their tags and their resources, as `labgrid-client` makes them
ADD_PLACES = """
import json, sys, grpc
from labgrid.remote.generated import labgrid_coordinator_pb2 as m, labgrid_coordinator_pb2_grpc as s
stub = s.CoordinatorStub(grpc.insecure_channel(sys.argv[1]))
for name, tags in json.loads(sys.argv[2]).items():
    stub.AddPlace(m.AddPlaceRequest(name=name))
    stub.SetPlaceTags(m.SetPlaceTagsRequest(placename=name, tags=tags))
    stub.AddPlaceMatch(m.AddPlaceMatchRequest(placename=name, pattern=f"bench/{name}/NetworkSerialPort"))
"""


@contextlib.contextmanager
def _serve(arguments: list[str], folder: Path, ready: Callable[[], bool]) -> Iterator[None]:
    with (folder / f"{Path(arguments[0]).name}.log").open("w") as log:
        process = subprocess.Popen(arguments, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
    try:
        end = time.monotonic() + 120
        while not ready():
            assert process.poll() is None, (folder / log.name).read_text()
            assert time.monotonic() < end
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(20)


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@pytest.fixture(scope="module")
def dead_port() -> Iterator[int]:
    """A board that takes connections and says nothing."""
    with listen_silently() as url:
        yield int(url.rpartition(":")[2])


@pytest.fixture(scope="module")
def coordinator(m55_build: BuildFolder, dead_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Places board0 to board3 are emulated boards, `adead` is none, `other` has another tag."""
    if not (FARM / "labgrid-coordinator").exists():
        pytest.skip("no labgrid environment; scripts/setup.sh makes it")
    folder = tmp_path_factory.mktemp("farm")
    with contextlib.ExitStack() as stack:
        ports = {"adead": dead_port}
        for index in range(BOARDS):
            url = stack.enter_context(start_board(load_board(m55_build.board), m55_build.elf))
            ports[f"board{index}"] = int(url.rpartition(":")[2])
        resources = {
            name: {"NetworkSerialPort": {"host": "127.0.0.1", "port": port, "protocol": "raw"}}
            for name, port in (ports | {"other": dead_port}).items()
        }
        (folder / "resources.yaml").write_text(json.dumps(resources))
        port = find_free_port()
        address = f"127.0.0.1:{port}"
        stack.enter_context(_serve([str(FARM / "labgrid-coordinator"), "-l", address], folder, lambda: _answers(port)))
        log = folder / "labgrid-coordinator.log"
        exporter = [str(FARM / "labgrid-exporter"), "-c", address, "-n", "bench", "resources.yaml"]
        stack.enter_context(
            _serve(exporter, folder, lambda: all(f"set_resource {name} " in log.read_text() for name in resources))
        )
        places = {name: TAGS | {"site": "here"} for name in ports} | {"other": {"board": "another"}}
        command = [str(FARM / "python"), "-c", ADD_PLACES, address, json.dumps(places)]
        subprocess.run(command, check=True, timeout=120)
        time.sleep(1)
        yield address


def _run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    return call_verb(capsys, "farm", "run", *arguments, "--labgrid-python", FARM / "python")


@pytest.mark.arm
@pytest.mark.qemu
def test_runs_in_parallel_elsewhere_than_on_the_dead_board_and_one_report(
    coordinator: str, m55_build: BuildFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    junit, html = tmp_path / "all.xml", tmp_path / "all.html"
    arguments = ["--coordinator", coordinator, "--runs", "6", "--steps", "6", "--parallel", "5"]
    arguments += ["--junit", str(junit), "--html", str(html)]
    build = Path(shutil.copytree(m55_build.path, tmp_path / "build"))
    (build / PROMPTS).write_text("wake me at ten\ncall mum\n")
    code, out, err = _run(capsys, str(build), *arguments, "--tag", "site=here", "--json")
    data = json.loads(out)["data"]
    assert code == 0, out + err
    assert (data["runs"], data["ok"]) == (6, 6)
    for outcome in data["outcomes"]:  # as much as `validate` checks
        assert {"tokenizer", "answers"} <= {check["name"] for check in outcome["report"]["checks"]}
    places = [outcome["place"] for outcome in data["outcomes"]]
    assert set(places) <= {f"board{index}" for index in range(BOARDS)}
    assert len(set(places)) >= 2
    given_up = [attempt for outcome in data["outcomes"] for attempt in outcome["given_up"]]
    assert [attempt["place"] for attempt in given_up] == ["adead"]
    assert "silent" in given_up[0]["error"]
    page = html.read_text()
    assert "6 of 6 runs passed" in page
    assert all(f"<td>{place}</td>" in page for place in {*places, "adead"})
    root = ElementTree.parse(junit).getroot()
    assert root.tag == "testsuites"
    suites = list(root)
    assert len(suites) == 6
    assert all(suite.attrib["failures"] == suite.attrib["errors"] == "0" for suite in suites)
    assert {re.findall(r"board\d$", suite.attrib["name"])[0] for suite in suites} == set(places)


@pytest.mark.arm
@pytest.mark.qemu
def test_places_are_exclusive_and_given_back(coordinator: str) -> None:
    with Lab(coordinator, str(FARM / "python")) as lab:
        places = [lab.acquire(TAGS, patience_s=60) for _ in range(BOARDS + 1)]
        assert len({place.name for place in places}) == BOARDS + 1
        assert all(re.fullmatch(r"socket://127\.0\.0\.1:\d+", place.url) for place in places)
        with pytest.raises(NoPlaceError, match="board=qemu_mps3_an547 came free") as caught:
            lab.acquire(TAGS, patience_s=0.5)
        assert "board3" in caught.value.try_
        lab.release(places[2])
        assert lab.acquire(TAGS, patience_s=60).name == places[2].name
    with Lab(coordinator, str(FARM / "python")) as lab:  # all were given back when the session ended
        assert lab.acquire({"board": "another"}, patience_s=60).name == "other"
        assert lab.acquire(TAGS, patience_s=60).name


@pytest.mark.arm
@pytest.mark.qemu
def test_no_board_with_the_tag(
    coordinator: str, m55_build: BuildFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    junit = tmp_path / "all.xml"
    arguments = ["--coordinator", coordinator, "--tag", "site=moon", "--patience", "0.5", "--junit", str(junit)]
    code, out, _ = _run(capsys, str(m55_build.path), *arguments)
    assert code == DeviceError.exit_code
    assert "NOT RUN: no place with board=qemu_mps3_an547, site=moon" in out
    assert ElementTree.parse(junit).getroot()[0].attrib["errors"] == "1"


@pytest.mark.arm
@pytest.mark.qemu
def test_interrupted_runs_end_soon_and_give_their_boards_back(coordinator: str, m55_build: BuildFolder) -> None:
    def interrupt(_: object) -> None:
        time.sleep(3)  # the others have their boards by now
        raise KeyboardInterrupt

    began = time.monotonic()
    jobs = [Job(Path("nowhere"), 0), Job(m55_build.path, 1), Job(m55_build.path, 2)]
    with Lab(coordinator, str(FARM / "python")) as lab, pytest.raises(KeyboardInterrupt):
        Farm(lab, {"site": "here"}, steps=100_000, patience_s=60).run(jobs, parallel=3, on_outcome=interrupt)
    assert time.monotonic() - began < 60  # hours otherwise
    with Lab(coordinator, str(FARM / "python")) as lab:
        assert len({lab.acquire(TAGS, patience_s=60).name for _ in range(BOARDS + 1)}) == BOARDS + 1


def test_wrong_environment_and_no_coordinator() -> None:
    with pytest.raises(ToolchainError, match="no labgrid"):
        Lab("127.0.0.1:1", sys.executable)
    with pytest.raises(ToolchainError, match="cannot run /nowhere"):
        Lab("127.0.0.1:1", "/nowhere/python")
    with pytest.raises(ToolchainError, match="no Python"):
        Lab("127.0.0.1:1", "/bin/echo")
    if (FARM / "python").exists():
        with pytest.raises(DeviceError, match="coordinator"):
            Lab("127.0.0.1:1", str(FARM / "python"))
