"""Reading documents: text files, JSONL files, and Hugging Face dataset directories."""

import dataclasses
import glob
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmoe_embed.errors import ToolkitError
from mmoe_embed.train.recipe import SourceSettings

_TABLES = (".arrow", ".parquet")


@dataclasses.dataclass(frozen=True)
class Document:
    """A text, or the two halves of a request, of which only the second is to be learned."""

    text: str
    prompt: str | None = None


def find_files(source: SourceSettings, base: Path) -> list[Path]:
    """The files of a source, in the order of their names.

    Args:
        source: from a recipe.
        base: the folder its paths are relative to.

    Raises:
        ToolkitError: a path names nothing.
    """
    files: list[Path] = []
    for pattern in source.path:
        found = sorted(Path(name) for name in glob.glob(str(base / pattern), recursive=True))
        inside = [file for path in found if path.is_dir() for file in _list_dataset(path, source)]
        inside += [path for path in found if path.is_file()]
        if not inside:
            raise ToolkitError(
                f"source '{source.name}' finds no file at {pattern}",
                at=str(base / pattern),
                try_=source.make or "correct source.path",
            )
        files += inside
    return list(dict.fromkeys(files))


def _list_dataset(folder: Path, source: SourceSettings) -> list[Path]:
    files = sorted(f for f in folder.rglob("*") if f.suffix in {*_TABLES, ".jsonl"} and not f.name.startswith("cache-"))
    if not files:
        raise ToolkitError(
            f"source '{source.name}': the folder holds no .arrow, .parquet or .jsonl file",
            at=str(folder),
            try_="a dataset directory as save_to_disk() writes it, or a pattern of files such as 'corpus/**/*.txt'",
        )
    return files


def read_documents(source: SourceSettings, file: Path) -> Iterator[Document]:
    """The documents of one file: every line of a JSONL file, every row of a table, else the whole text.

    Raises:
        ToolkitError: not UTF-8, a line or row without the field, or a table without pyarrow to read it.
    """
    if file.suffix == ".jsonl":
        for number, line in enumerate(_read_text(file).splitlines(), 1):
            try:
                entry = json.loads(line)
            except ValueError as error:
                raise ToolkitError(f"not a JSON object: {error}", at=f"{file}, line {number}") from None
            yield _read_row(entry, source, f"{file}, line {number}")
    elif file.suffix in _TABLES:
        for number, row in enumerate(_read_table(file)):
            yield _read_row(row, source, f"{file}, row {number}")
    else:
        yield Document(_read_text(file))


def _read_text(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8")  # no newline is translated: a byte of the file is a byte of the text
    except UnicodeDecodeError as error:
        raise ToolkitError(f"not UTF-8: {error}", at=str(file), try_="convert it, or leave it out of path") from None


def _read_row(row: Any, source: SourceSettings, at: str) -> Document:
    row = row if isinstance(row, dict) else {}
    if isinstance(row.get(source.field), str):
        return Document(row[source.field])
    if isinstance(row.get("prompt"), str) and isinstance(row.get("completion"), str):
        return Document(row["completion"], row["prompt"])
    raise ToolkitError(
        f"no text in '{source.field}', and no prompt with a completion; it has {', '.join(map(str, row)) or 'nothing'}",
        at=at,
        try_="set source.field",
    )


def _read_table(file: Path) -> Iterator[dict[str, Any]]:
    try:
        import pyarrow  # noqa: PLC0415 - only datasets need it
        import pyarrow.ipc  # noqa: PLC0415
        import pyarrow.parquet  # noqa: PLC0415
    except ModuleNotFoundError:
        raise ToolkitError(
            "reading a dataset directory needs pyarrow, which is not installed",
            at=str(file),
            try_="pip install 'mmoe-embed[datasets]'",
        ) from None
    try:
        if file.suffix == ".parquet":
            batches: Any = pyarrow.parquet.ParquetFile(file).iter_batches()
        else:
            batches = pyarrow.ipc.open_stream(pyarrow.memory_map(str(file)))
        for batch in batches:
            yield from batch.to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise ToolkitError(f"not a readable {file.suffix} file: {error}", at=str(file)) from None
