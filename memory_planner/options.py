"""Every switch of the search in one place, so that each technique can be measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SearchOptions:
    """Limits and technique switches; the defaults are what `solve` uses."""

    threads: int = 1
    memory_limit_bytes: int = 1_500_000_000
