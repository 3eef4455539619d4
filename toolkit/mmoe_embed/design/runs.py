"""Finished training runs as points of a scaling law: read from their folders, kept as CSV."""

import csv
import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path

from mmoe_embed.config import load_config
from mmoe_embed.design.shapes import Coordinates, locate
from mmoe_embed.errors import ToolkitError

_TRY = "a folder of `mmoe-embed train` or `design sweep` runs with held-out text, or a CSV that design sweep wrote"


@dataclasses.dataclass(frozen=True)
class Run:
    """One model after its first stage.

    Attributes:
        name: of its folder.
        at: where the law sees it.
        tokens: it was trained on.
        loss: held out, nats a token; of the first stage, before any rounding.
        bits_per_byte: of the same text.
    """

    name: str
    at: Coordinates
    tokens: int
    loss: float
    bits_per_byte: float


COLUMNS = ("name", "active", "total", "experts", "granularity", "shared", "routed", "tokens", "loss", "bits_per_byte")


def write_runs(runs: Sequence[Run]) -> str:
    """Runs as CSV, by name."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for run in sorted(runs, key=lambda run: run.name):
        at = run.at
        writer.writerow(
            (
                run.name,
                at.active,
                at.total,
                f"{at.experts:g}",
                f"{at.granularity:g}",
                int(at.shared),
                at.routed,
                run.tokens,
                f"{run.loss:.5f}",
                f"{run.bits_per_byte:.5f}",
            )
        )
    return text.getvalue()


def read_runs(path: Path) -> list[Run]:
    """The runs of a CSV, or of every folder below `path` that `train` has finished a stage in, by name.

    Raises:
        ToolkitError: none is there, or a CSV is not one of runs.
    """
    if path.is_file():
        return _read_csv(path)
    runs = [run for metrics in sorted(path.rglob("metrics.csv")) if (run := read_run(metrics.parent))]
    if not runs:
        raise ToolkitError(f"no finished run in {path}", at=str(path), try_=_TRY)
    return runs


def read_run(folder: Path) -> Run | None:
    """The run in a folder of `train`; None where no stage has ended with held-out text."""
    config = folder / "checkpoint" / "config.json"
    if not config.is_file():
        return None
    with (folder / "metrics.csv").open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row.get("held_out_loss") and row.get("tokens")]
    first = [row for row in rows if row["stage"] == rows[0]["stage"]]
    if not first:
        return None
    last = first[-1]
    return Run(
        folder.name,
        locate(load_config(config)),
        int(last["tokens"]),
        float(last["held_out_loss"]),
        float(last["bits_per_byte"]),
    )


def _read_csv(file: Path) -> list[Run]:
    try:
        with file.open(newline="", encoding="utf-8") as stream:
            return [_parse_row(row) for row in csv.DictReader(stream)]
    except (KeyError, ValueError, TypeError) as error:
        raise ToolkitError(f"not a CSV of runs: {error}", at=str(file), try_=f"columns {', '.join(COLUMNS)}") from None


def _parse_row(row: dict[str, str]) -> Run:
    at = Coordinates(
        int(row["active"]),
        int(row["total"]),
        float(row["experts"]),
        float(row["granularity"]),
        row["shared"] == "1",
        int(row["routed"]),
    )
    return Run(row["name"], at, int(row["tokens"]), float(row["loss"]), float(row["bits_per_byte"]))
