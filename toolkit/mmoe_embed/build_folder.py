"""The build folder: what it holds, what it was made from, and how to read it back."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

from mmoe_embed.config import parse_json
from mmoe_embed.errors import MismatchError, ToolkitError, UsageError
from mmoe_embed.whole_file import write_whole

FORMAT = 1
PROMPTS = "prompts.txt"  # requests of the model, where it has some
UNFINISHED = ".unfinished"  # in a folder whose build is under way, or was interrupted
RECORD = "build.json"
_KEYS = {"board": str, "elf": str, "files": dict, "model_id": str, "build_id": str, "quantized": str}


@dataclasses.dataclass(frozen=True)
class BuildFolder:
    """A finished build.

    Attributes:
        board: the board's name, or the path of its file.
        elf: the firmware, or the host program.
        quantized: the model the golden is made from.
        record: all of build.json.
    """

    path: Path
    board: str
    elf: Path
    model_id: str
    build_id: str
    quantized: Path
    record: dict[str, Any]

    @property
    def expert_image(self) -> Path:
        """The expert image with the experts as they are now."""
        return self.path / str(self.record.get("expert_image", "gen/experts.bin"))

    @property
    def golden_id(self) -> str:
        """Of the model in `quantized`: `model_id` until an expert is replaced."""
        return str(self.record.get("updates", self.record)["model_id"])

    @property
    def plan(self) -> dict[str, Any]:
        """gen/plan.json."""
        file = self.path / "gen" / "plan.json"
        return parse_json(file.read_bytes(), str(file))


def file_sha256(file: Path) -> str:
    """sha256 of a file, in hex."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Write build.json; it appears only when everything it speaks of is there."""
    write_whole(folder / RECORD, (json.dumps({"format": FORMAT} | record, indent=2) + "\n").encode())


def read_record(folder: Path) -> dict[str, Any] | None:
    """build.json, or None where no build has finished."""
    file = folder / RECORD
    if not file.is_file():
        return None
    record = parse_json(file.read_bytes(), str(file))
    if record.get("format") != FORMAT:
        raise MismatchError(
            f"build folder of format {record.get('format')}, this tool reads {FORMAT}",
            at=str(folder),
            try_="build into a new folder",
        )
    return record


def load_build(folder: Path) -> BuildFolder:
    """Open a finished build and check that its files are the ones it recorded.

    Raises:
        ToolkitError: no finished build there.
        UsageError: a .pte.
        MismatchError: a file is missing or was changed after the build, its record included.
    """
    if folder.suffix == ".pte":
        raise UsageError(
            "a .pte is no build: ExecuTorch runs it, by `run` and `validate` only",
            at=str(folder),
            try_="mmoe-embed validate FILE.pte --runtime executorch --checkpoint FOLDER",
        )
    record = read_record(folder) if folder.is_dir() else None
    if record is None:
        what = "the build there was interrupted" if (folder / UNFINISHED).is_file() else "no build there"
        raise ToolkitError(
            f"{folder} is not a finished build: {what}",
            at=str(folder),
            try_=f"mmoe-embed build CHECKPOINT --board BOARD -o {folder}",
        )
    for key, kind in _KEYS.items():
        if not isinstance(record.get(key), kind):
            raise MismatchError(
                f"the build's record has no {key}", at=str(folder / RECORD), try_="run the same mmoe-embed build again"
            )
    for name, sha256 in record["files"].items():
        file = folder / name
        if not file.is_file() or file_sha256(file) != sha256:
            state = "has changed since it was built" if file.is_file() else "is missing"
            raise MismatchError(f"{name} {state}", at=str(file), try_="run the same mmoe-embed build again")
    return BuildFolder(
        folder,
        record["board"],
        folder / record["elf"],
        record["model_id"],
        record["build_id"],
        folder / record["quantized"],
        record,
    )
