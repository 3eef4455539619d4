"""Times of two things that were measured in turn, as ratios."""

import statistics
from collections.abc import Sequence
from typing import NamedTuple


class Ratio(NamedTuple):
    """One time over another: of the fastest rounds, and of the middle ones."""

    fastest: float
    median: float

    def __str__(self) -> str:
        return f"{self.fastest:.2f} ({self.median:.2f})"


def compare_rounds(times: Sequence[float], to: Sequence[float]) -> Ratio:
    """How many times the time `to` the times are; both of at least one round."""
    return Ratio(min(times) / min(to), statistics.median(times) / statistics.median(to))
