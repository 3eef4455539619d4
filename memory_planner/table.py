"""Problems as CSV: `id,lower,upper,size[,alignment][,offset]`, lifetimes half-open."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from memory_planner.errors import CsvError, PlannerError
from memory_planner.problem import DEFAULT_POOL, Buffer, Pool, Problem, check_buffer, check_fit, check_pools

REQUIRED = ("id", "lower", "upper", "size")
OPTIONAL = ("alignment", "offset")


def read_csv(path: str | Path, capacity: int | None = None) -> Problem:
    """Read a problem file; `capacity` bounds its one pool.

    Raises:
        CsvError: the file is broken; carries the line.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CsvError(str(path), 0, f"not UTF-8 text: {error.reason} at byte {error.start}") from error
    except OSError as error:
        raise CsvError(str(path), 0, f"cannot be read: {error.strerror}") from error
    return parse_csv(text, str(path), capacity)


def parse_csv(text: str, path: str = "<text>", capacity: int | None = None) -> Problem:
    """Parse a problem; `path` is what error messages call it."""
    pool = Pool(DEFAULT_POOL.name, capacity)
    check_pools((pool,))
    reader = csv.reader(io.StringIO(text), strict=True)
    buffers: list[Buffer] = []
    seen: dict[str, int] = {}
    columns: dict[str, int] | None = None
    try:
        for row in reader:
            if not row or all(not cell.strip() for cell in row):
                continue
            line = reader.line_num
            if columns is None:
                columns = read_header(row, path, line)
                continue
            buffer = read_row(row, columns, path, line)
            if buffer.name in seen:
                raise CsvError(path, line, f"id '{buffer.name}' was used in line {seen[buffer.name]}")
            seen[buffer.name] = line
            try:
                check_buffer(buffer)
                check_fit(buffer, {pool.name: pool})
            except PlannerError as error:
                located = CsvError(path, line, str(error))
                raise located from error
            buffers.append(buffer)
    except csv.Error as error:
        raise CsvError(path, reader.line_num, f"broken CSV: {error}") from error
    if columns is None:
        raise CsvError(path, 0, f"empty: needs a header {','.join(REQUIRED)}")
    try:
        return Problem(tuple(buffers), (pool,))
    except PlannerError as error:
        raise CsvError(path, 0, str(error)) from error


def read_header(row: list[str], path: str, line: int) -> dict[str, int]:
    names = [cell.strip().lower() for cell in row]
    for name in REQUIRED:
        if name not in names:
            raise CsvError(path, line, f"no column '{name}': needs {','.join(REQUIRED)}[,alignment][,offset]")
    for name in names:
        if name not in REQUIRED + OPTIONAL:
            raise CsvError(path, line, f"unknown column '{name}': knows {', '.join(REQUIRED + OPTIONAL)}")
        if names.count(name) > 1:
            raise CsvError(path, line, f"column '{name}' appears twice")
    return {name: i for i, name in enumerate(names)}


def read_row(row: list[str], columns: dict[str, int], path: str, line: int) -> Buffer:
    if len(row) != len(columns):
        raise CsvError(path, line, f"has {len(row)} cells, the header has {len(columns)}")

    def whole(name: str) -> int:
        cell = row[columns[name]].strip()
        digits = cell.removeprefix("-")
        if not (digits.isascii() and digits.isdigit()) or len(digits) > 30:
            raise CsvError(path, line, f"{name} is '{cell[:40]}': must be a whole number")
        return int(cell)

    def given(name: str) -> bool:
        return name in columns and bool(row[columns[name]].strip())

    name = row[columns["id"]].strip()
    if not name or not name.isprintable():
        raise CsvError(path, line, f"id is {name[:40]!r}: must be printable text")
    return Buffer(
        name,
        whole("size"),
        whole("lower"),
        whole("upper"),
        alignment=whole("alignment") if given("alignment") else 1,
        offset=whole("offset") if given("offset") else None,
    )


def format_csv(problem: Problem) -> str:
    """A problem as CSV; pools, groups and costs are not part of the format."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*REQUIRED, *OPTIONAL])
    for b in problem.buffers:
        writer.writerow([b.name, b.lower, b.upper, b.size_bytes, b.alignment, "" if b.offset is None else b.offset])
    return out.getvalue()
