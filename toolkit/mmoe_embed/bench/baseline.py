"""Counts of an earlier run, kept as CSV, and what has changed since."""

import csv
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from mmoe_embed.bench.measure import KernelCount
from mmoe_embed.bench.targets import TARGETS, Target
from mmoe_embed.errors import ToolkitError, UsageError

ALLOWED_LOSS = 0.03  # a kernel that loses more than this fails
_COLUMNS = [field.name for field in fields(KernelCount)]


@dataclass(frozen=True)
class Change:
    """A kernel against its baseline; ratio below 1 is faster."""

    before: KernelCount
    after: KernelCount

    @property
    def ratio(self) -> float:
        """New cost over old cost."""
        return self.after.cost / self.before.cost

    @property
    def is_lost(self) -> bool:
        """Whether it costs more than ALLOWED_LOSS more."""
        return self.ratio > 1 + ALLOWED_LOSS


@dataclass(frozen=True)
class Comparison:
    """Counts against a baseline.

    Args:
        changes: of what both have.
        missing: what the baseline has and the counts have not.
    """

    changes: list[Change]
    missing: list[KernelCount]

    @property
    def failure(self) -> str:
        """Name what was lost and what is missing; "" where nothing is."""
        lost = [f"{c.after.label} {100 * (c.ratio - 1):+.1f} %" for c in self.changes if c.is_lost]
        gone = [count.label for count in self.missing]
        parts = [("slower than the baseline", lost), ("in the baseline and not measured", gone)]
        return "; ".join(f"{what}: {', '.join(names)}" for what, names in parts if names)


def write_counts(counts: list[KernelCount], path: Path) -> None:
    """Write a baseline as CSV."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(count) for count in counts)


def _no_baseline(problem: str, at: str) -> ToolkitError:
    return ToolkitError(f"not a kernel baseline: {problem}", at=at,
                        try_="mmoe-embed bench kernels --board B --save FILE")  # fmt: skip


def _read_row(row: dict[str, str]) -> KernelCount:
    if None in (*row, *row.values()):
        raise ValueError(f"not {len(_COLUMNS)} values")
    numbers = {name: int(row[name]) for name in row if name not in ("kernel", "instructions_per_mac")}
    count = KernelCount(kernel=row["kernel"], instructions_per_mac=float(row["instructions_per_mac"]), **numbers)
    if count.cost <= 0:
        raise ValueError("neither instructions nor nanoseconds")
    return count


def read_counts(path: Path) -> list[KernelCount]:
    """Read what `write_counts` wrote.

    Raises:
        ToolkitError: the file is no baseline, or an empty one.
    """
    counts = []
    with path.open(newline="") as file:
        rows = csv.DictReader(file, strict=True)
        try:
            if rows.fieldnames != _COLUMNS:
                raise ValueError(f"its columns are not {','.join(_COLUMNS)}")
            for row in rows:
                counts.append(_read_row(row))
        except (TypeError, ValueError, csv.Error) as error:
            raise _no_baseline(str(error), f"{path}:{max(rows.line_num, 1)}") from error
    if not counts:
        raise _no_baseline("no kernel in it", f"{path}:2")
    return counts


def read_baseline(path: Path, target: Target, kernel: str = "") -> list[KernelCount]:
    """Read what counts of a target are to be compared with.

    Args:
        path: the CSV.
        target: what will be measured.
        kernel: only counts of this kernel; "" is all.

    Raises:
        ToolkitError: as `read_counts`.
        UsageError: its name or its unit is another target's, or it has nothing of this kernel.
    """
    counts = read_counts(path)
    try_ = f"mmoe-embed bench kernels --board {target.name} --save FILE"
    if path.stem in TARGETS and path.stem != target.name:
        raise UsageError(f"the baseline is named after {path.stem}, not after {target.name}", at=str(path), try_=try_)
    if any(bool(count.instructions) == target.is_host for count in counts):
        unit = "nanoseconds" if target.is_host else "instructions"
        raise UsageError(f"{target.name} is measured in {unit}, the baseline is not", at=str(path), try_=try_)
    chosen = [count for count in counts if kernel in ("", count.kernel)]
    if not chosen:
        raise UsageError(f"the baseline has no {kernel} to compare with", at=str(path), try_=try_)
    return chosen


def compare_counts(before: list[KernelCount], after: list[KernelCount]) -> Comparison:
    """Pair the kernels and shapes of a baseline with those that were measured."""
    new = {count.shape: count for count in after}
    return Comparison(
        [Change(count, new[count.shape]) for count in before if count.shape in new],
        [count for count in before if count.shape not in new],
    )
